"""Schemas of the custom resources in the manifests, limited to the fields that the manifests use.

Transcribed from the Go types of LeaderWorkerSet v1, JobSet v1alpha2, KEDA v1alpha1, cert-manager v1 and the Prometheus
operator v1. Unknown fields are rejected, as in a strict apply. test_schemas.py validates pod templates as pods.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metadata(_Part):
    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    namespace: str
    labels: dict[str, str] = {}


class _Resource(_Part):
    metadata: _Metadata


class _Template(_Part):
    """A pod template. Kubernetes' own schema validates `spec`."""

    class Metadata(_Part):
        labels: dict[str, str]
        annotations: dict[str, str] = {}

    metadata: Metadata
    spec: dict[str, Any]


class LeaderWorkerSet(_Resource):
    class Spec(_Part):
        class Group(_Part):
            leaderTemplate: _Template
            workerTemplate: _Template
            size: int = Field(ge=1)
            restartPolicy: Literal["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]

        class Rollout(_Part):
            class Update(_Part):
                partition: int = Field(0, ge=0)
                maxUnavailable: int | str
                maxSurge: int | str

            type: Literal["RollingUpdate"]
            rollingUpdateConfiguration: Update

        replicas: int = Field(ge=0)
        leaderWorkerTemplate: Group
        rolloutStrategy: Rollout
        startupPolicy: Literal["LeaderCreated", "LeaderReady"]

    apiVersion: Literal["leaderworkerset.x-k8s.io/v1"]
    kind: Literal["LeaderWorkerSet"]
    spec: Spec


class JobSet(_Resource):
    class Spec(_Part):
        class Replicated(_Part):
            class Job(_Part):
                class Spec(_Part):
                    backoffLimit: int = Field(ge=0)
                    podFailurePolicy: dict[str, Any]
                    template: _Template

                spec: Spec

            name: str
            replicas: int = Field(ge=0)
            template: Job

        class Network(_Part):
            enableDNSHostnames: bool
            subdomain: str
            publishNotReadyAddresses: bool

        class Failure(_Part):
            class Rule(_Part):
                name: str = Field(pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
                action: Literal["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
                onJobFailureReasons: list[
                    Literal["BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "PodFailurePolicy"]
                ]
                onJobFailureMessagePatterns: list[str]

            maxRestarts: int = Field(ge=0)
            rules: list[Rule]

        class Success(_Part):
            operator: Literal["All", "Any"]
            targetReplicatedJobs: list[str]

        suspend: bool
        ttlSecondsAfterFinished: int = Field(ge=0)
        network: Network
        failurePolicy: Failure
        successPolicy: Success
        replicatedJobs: list[Replicated]

    apiVersion: Literal["jobset.x-k8s.io/v1alpha2"]
    kind: Literal["JobSet"]
    spec: Spec


class ScaledObject(_Resource):
    class Spec(_Part):
        class Target(_Part):
            name: str

        class Fallback(_Part):
            failureThreshold: int = Field(ge=0)
            replicas: int = Field(ge=0)
            behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]

        class Advanced(_Part):
            class Autoscaler(_Part):
                behavior: dict[str, Any]

            horizontalPodAutoscalerConfig: Autoscaler

        class Trigger(_Part):
            class Query(_Part):
                serverAddress: str
                query: str
                threshold: str  # KEDA accepts only a quoted number

            type: Literal["prometheus"]
            name: str
            metricType: Literal["AverageValue", "Value", "Utilization"]
            metadata: Query

        scaleTargetRef: Target
        minReplicaCount: int = Field(ge=0)
        maxReplicaCount: int = Field(ge=1)
        pollingInterval: int = Field(gt=0)
        cooldownPeriod: int = Field(ge=0)
        advanced: Advanced
        fallback: Fallback
        triggers: list[Trigger] = Field(min_length=1)

    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    spec: Spec


class Issuer(_Resource):
    class Spec(_Part):
        class Authority(_Part):
            secretName: str

        selfSigned: dict[str, Any] | None = None
        ca: Authority | None = None

    apiVersion: Literal["cert-manager.io/v1"]
    kind: Literal["Issuer"]
    spec: Spec


class Certificate(_Resource):
    class Spec(_Part):
        class Key(_Part):
            algorithm: Literal["RSA", "ECDSA", "Ed25519"]
            size: int
            rotationPolicy: Literal["Always", "Never"]

        class Reference(_Part):
            name: str
            kind: Literal["Issuer", "ClusterIssuer"]

        secretName: str
        commonName: str = Field(max_length=64)
        isCA: bool = False
        dnsNames: list[str] = []
        usages: list[Literal["digital signature", "server auth", "client auth"]] = []
        duration: str
        renewBefore: str | None = None
        privateKey: Key
        issuerRef: Reference

    apiVersion: Literal["cert-manager.io/v1"]
    kind: Literal["Certificate"]
    spec: Spec


class _Selector(_Part):
    matchLabels: dict[str, str]


class PodMonitor(_Resource):
    class Spec(_Part):
        class Endpoint(_Part):
            class Relabeling(_Part):
                sourceLabels: list[str] = []
                regex: str = "(.*)"
                action: Literal["keep", "replace"] = "replace"
                targetLabel: str = ""
                replacement: str = "$1"

            port: str
            interval: str
            relabelings: list[Relabeling] = []

        selector: _Selector
        podMetricsEndpoints: list[Endpoint]

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    spec: Spec


class PrometheusRule(_Resource):
    class Spec(_Part):
        class Group(_Part):
            class Rule(_Part):
                alert: str
                expr: str
                for_: str = Field("0s", alias="for")
                labels: dict[str, str] = {}
                annotations: dict[str, str] = {}

            name: str
            rules: list[Rule]

        groups: list[Group]

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    spec: Spec


KINDS: dict[str, type[_Resource]] = {
    kind.__name__: kind
    for kind in (LeaderWorkerSet, JobSet, ScaledObject, Issuer, Certificate, PodMonitor, PrometheusRule)
}
