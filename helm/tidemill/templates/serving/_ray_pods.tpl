{{/*
Pod template of a Ray node: (dict "root" $ "component" "ray-head" "of" .Values.serving.head).
KubeRay writes its command, its probes (Ray's health, and the Serve proxy's on workers) and its init container.
*/}}
{{- define "tidemill.rayPod" -}}
metadata:
  {{- include "tidemill.podMetadata" (dict "root" .root "component" .component "of" .of) | nindent 2 }}
spec:
  {{- include "tidemill.podStart" (dict "root" .root "component" .component "account" "serving" "of" .of "token" (and .head (not .job) .root.Values.serving.autoscaling.enabled)) | nindent 2 }}
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
