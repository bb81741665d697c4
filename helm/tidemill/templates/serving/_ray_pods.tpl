{{/*
Pod template of a Ray node: (dict "root" $ "component" "ray-head" "of" .Values.serving.head).
KubeRay writes its command, its probes (Ray's health, and the Serve proxy's on workers) and its init container.
*/}}
{{- define "tidemill.rayPod" -}}
metadata:
  {{- include "tidemill.podMetadata" (dict "root" .root "component" .component "of" .of) | nindent 2 }}
spec:
  {{- include "tidemill.podStart" (dict "root" .root "component" .component "account" "serving" "of" .of "token" (and .head .scaled)) | nindent 2 }}
  initContainers:
    {{- include "tidemill.projectContainer" (list .root "") | nindent 4 }}
  containers:
    - name: {{ ternary "ray-head" "ray-worker" .head }}
      {{- include "tidemill.containerImage" .root | nindent 6 }}
      env:
        {{- include "tidemill.environment" .root | nindent 8 }}
        # Beyond this machine: the API asks for keys.
        - name: TIDEMILL_HOST
          value: 0.0.0.0
        - name: RAY_USAGE_STATS_ENABLED
          value: "0"
        {{- with .growsTo }}
        - name: TIDEMILL_RAY_GROWS_TO
          value: {{ . | quote }}
        {{- end }}
        {{- with .of.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or .head (not .job) }}
      ports:
      {{- end }}
        {{- if .head }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        {{- end }}
        {{- if not .job }}
        - {name: serve, containerPort: 8000}
        {{- end }}
      lifecycle:
        preStop:
          exec: {command: [ray, stop]}
      resources:
        {{- toYaml .of.resources | nindent 8 }}
      securityContext:
        {{- include "tidemill.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        {{- include "tidemill.projectMounts" .root | nindent 8 }}
        - {name: shared-memory, mountPath: /dev/shm}
        {{- with .of.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "tidemill.projectVolumes" .root | nindent 4 }}
    - name: shared-memory
      emptyDir: {medium: Memory}
    {{- with .of.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
Spec of a RayCluster: (dict "root" $ "of" .Values.serving "prefix" "ray"), or with "job" true for one that serves nothing.
Labels of its pods are PREFIX-head and PREFIX-WORKERGROUP.
*/}}
{{- define "tidemill.rayCluster" -}}
{{- $root := .root -}}
{{- $prefix := .prefix -}}
{{- $job := default false .job -}}
{{- $scaled := .of.autoscaling.enabled -}}
{{- $growsTo := ternary (include "tidemill.rayGrowsTo" .of.workers) "" $scaled -}}
rayVersion: {{ $root.Values.serving.rayVersion | quote }}
{{- if $root.Values.serving.tokenAuthentication }}
authOptions: {mode: token}
{{- end }}
{{- if $scaled }}
enableInTreeAutoscaling: true
autoscalerOptions:
  idleTimeoutSeconds: {{ .of.autoscaling.idleTimeoutSeconds }}
  resources:
    requests: {cpu: 200m, memory: 512Mi}
    limits: {memory: 512Mi}
  securityContext:
    {{- include "tidemill.containerSecurity" $root | nindent 4 }}
{{- end }}
{{- with .of.faultTolerance }}
{{- if .redisAddress }}
gcsFaultToleranceOptions:
  redisAddress: {{ .redisAddress | quote }}
  {{- if .password.existingSecret }}
  redisPassword:
    valueFrom: {secretKeyRef: {name: {{ .password.existingSecret | quote }}, key: {{ .password.key | quote }}}}
  {{- end }}
{{- end }}
{{- end }}
headGroupSpec:
  rayStartParams:
    dashboard-host: 0.0.0.0
    {{- if .of.workers }}
    num-cpus: "0"
    {{- end }}
  template:
    {{- include "tidemill.rayPod" (dict "root" $root "component" (printf "%s-head" $prefix) "of" .of.head "head" true "job" $job "scaled" $scaled "growsTo" $growsTo) | nindent 4 }}
{{- if .of.workers }}
workerGroupSpecs:
  {{- range .of.workers }}
  - groupName: {{ .name | quote }}
    replicas: {{ .replicas }}
    minReplicas: {{ ternary .minReplicas .replicas (hasKey . "minReplicas") }}
    maxReplicas: {{ ternary .maxReplicas (max 1 .replicas) (hasKey . "maxReplicas") }}
    rayStartParams: {{ default dict .rayStartParams | toJson }}
    template:
      {{- include "tidemill.rayPod" (dict "root" $root "component" (printf "%s-%s" $prefix .name) "of" . "head" false "job" $job "growsTo" $growsTo) | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What Ray has once its autoscaler has started every worker, as TIDEMILL_RAY_GROWS_TO says it: a list of groups. */}}
{{- define "tidemill.rayGrowsTo" -}}
{{- $cpus := 0.0 -}}
{{- $gpus := 0.0 -}}
{{- range . -}}
{{- $most := float64 (ternary .maxReplicas (max 1 .replicas) (hasKey . "maxReplicas")) -}}
{{- $asked := toString (default .resources.requests.cpu .resources.limits.cpu) -}}
{{- $each := ternary (divf (float64 (trimSuffix "m" $asked)) 1000.0) (float64 $asked) (hasSuffix "m" $asked) -}}
{{- $cpus = addf $cpus (mulf $most (ceil $each)) -}}
{{- $gpus = addf $gpus (mulf $most (float64 (default 0 (get .resources.limits "nvidia.com/gpu")))) -}}
{{- end -}}
CPU={{ $cpus }},GPU={{ $gpus }}
{{- end -}}
