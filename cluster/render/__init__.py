"""One ClusterConfig → what Ray Serve and Kubernetes are told. Pure: the same config gives the same bytes."""
