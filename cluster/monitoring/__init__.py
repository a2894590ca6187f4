"""What looks at a running cluster: Prometheus' rules, Grafana's dashboard, and what is to be scraped."""
