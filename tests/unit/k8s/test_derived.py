"""What follows from keys of other sections, or from several together."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.kubernetes import ExposureSettings, KubernetesSettings, WeightsSettings
from cluster.render.kuberay import render_kuberay
from serve_app.settings import AutoscalingSettings
from tests.unit.k8s.configs import HARDWARE, MODEL, rendered

PLAIN = rendered(KubernetesSettings())


def test_labels_for_prometheus_are_on_monitors_and_rules_alone() -> None:
    settings = KubernetesSettings(monitoring_labels={"release": "prometheus", "embed-cluster/name": "other"})
    config = ClusterConfig(models=(MODEL,), hardware=HARDWARE, kubernetes=settings)
    chosen = [one for one in render_kuberay(config) if one["metadata"]["labels"].get("release") == "prometheus"]
    assert {one["kind"] for one in chosen} == {"PodMonitor", "PrometheusRule"}
    assert {one["metadata"]["labels"]["embed-cluster/name"] for one in chosen} == {"embed"}  # ours stay what they are


def test_another_ingress_class_gets_no_annotations_of_nginx() -> None:
    assert "nginx.ingress" in PLAIN
    assert "nginx.ingress" not in rendered(KubernetesSettings(exposure=ExposureSettings(ingress_class="traefik")))


def test_a_slow_start_gives_a_pod_more_time_to_go() -> None:
    scaling = AutoscalingSettings(max_replicas=2, cold_start_s=400)
    model = MODEL.model_copy(update={"autoscaling": scaling})
    assert "terminationGracePeriodSeconds: 145" in PLAIN
    assert "terminationGracePeriodSeconds: 485" in rendered(KubernetesSettings(), models=(model,))
    given = KubernetesSettings(termination_grace_s=90)
    assert "terminationGracePeriodSeconds: 90" in rendered(given, models=(model,))


def test_another_image_or_model_is_another_job_for_the_weights() -> None:
    """Kubernetes would refuse to change what a Job runs, and with it the whole upgrade."""

    def name(settings: KubernetesSettings) -> str:
        config = ClusterConfig(models=(MODEL,), hardware=HARDWARE, kubernetes=settings)
        (job,) = (one for one in render_kuberay(config) if one["kind"] == "Job")
        return str(job["metadata"]["name"])

    others = (
        KubernetesSettings(image="registry.example/embed-cluster:0.2.0"),
        KubernetesSettings(weights=WeightsSettings(revisions={MODEL.path: "a" * 40})),
    )
    assert name(KubernetesSettings(head_cpus=3)) == name(KubernetesSettings())
    assert len({name(KubernetesSettings()), *map(name, others)}) == 3
