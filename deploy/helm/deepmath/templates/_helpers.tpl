{{- /* The numbers and names that depend on each other. Written by hand; the other templates are generated. */ -}}

{{- /* Labels of every object, besides those of deploy/k8s. */ -}}
{{- define "deepmath.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- /* The image of a service: (list $ "executor"). With a GPU, generators and trainers need one built for CUDA. */ -}}
{{- define "deepmath.image" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- $variant := and $root.Values.gpu.enabled (has $service (list "generator" "trainer")) | ternary "-cuda" "" -}}
{{- $name := printf "deepmath-%s" $service -}}
{{- with $image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- $digest := get $image.digests $service -}}
{{- if $digest -}}
{{ printf "%s@%s" $name $digest | quote }}
{{- else -}}
{{ printf "%s:%s" $name (default (print $root.Chart.AppVersion $variant) $image.tag) | quote }}
{{- end -}}
{{- end -}}

{{- /* The folder of the model: that of the image, or where the Job `models` downloads it. */ -}}
{{- define "deepmath.model" -}}
{{- if and .Values.gpu.enabled (not .Values.model.path) -}}
/cache/{{ base .Values.model.repository }}
{{- else -}}
{{ required "model.path: name the folder of the model" .Values.model.path }}
{{- end -}}
{{- end -}}

{{- /* GPUs that one copy of the model is divided over. */ -}}
{{- define "deepmath.tensorParallel" -}}
{{- $parallel := int (default .Values.generator.gpus .Values.generator.tensorParallel) -}}
{{- if gt $parallel (int .Values.generator.gpus) -}}
{{- fail (printf "generator.tensorParallel is %d, but a pod has %d GPUs: raise generator.gpus" $parallel (int .Values.generator.gpus)) -}}
{{- end -}}
{{ $parallel }}
{{- end -}}

{{- /* The executors that all trajectories need: 1.25 session places for each. */ -}}
{{- define "deepmath.neededExecutors" -}}
{{- $trajectories := mul .Values.generator.replicas .Values.generator.maxTrajectories -}}
{{- $places := mul 4 .Values.executor.maxSessions -}}
{{ div (sub (add (mul 5 $trajectories) $places) 1) $places }}
{{- end -}}

{{- /* Executors, if no component scales them. */ -}}
{{- define "deepmath.executors" -}}
{{- $replicas := int .Values.executor.replicas -}}
{{ ternary (max $replicas (include "deepmath.neededExecutors" . | int)) 0 (gt $replicas 0) }}
{{- end -}}

{{- /* A setting as text. The numbers of a file of values are floating-point numbers: 1000000 would become 1e+06. */ -}}
{{- define "deepmath.text" -}}
{{- if and (kindIs "float64" .) (eq (toString (floor .)) (toString .)) -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}
