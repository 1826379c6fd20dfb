{{- /* dagster.yaml: the instance as every process of the platform sees it. */}}
{{- define "platform.instance" -}}
{{- $v := .Values -}}
telemetry: {enabled: false}
nux: {enabled: false}

storage:
  postgres:
    postgres_db:
      hostname: {env: HOMELAB_PG_HOST}
      port: {env: HOMELAB_PG_PORT}
      username: {env: HOMELAB_PG_USER}
      password: {env: HOMELAB_PG_PASSWORD}
      db_name: {env: HOMELAB_PG_DATABASE}
      scheme: postgresql+psycopg2  # SQLAlchemy 2.1 would take psycopg 3, whose NOTIFY with a parameter fails

# What runs print is in the log of their pod; a file would go with the pod.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager

# One run at a time in each pool: `tables` ingests, `heavy` computes marts and tends tables.
concurrency:
  runs: {max_concurrent_runs: {{ $v.runs.atOnce }}}
  pools: {granularity: run, default_limit: 1}
run_queue:
  dequeue_interval_seconds: 1
  max_user_code_failure_retries: 20
  user_code_failure_retry_delay: 30

freshness: {enabled: true}

# Sensors wait for new objects within their ticks, so each has a thread of its own.
sensors: {use_threads: true, num_workers: 4}
schedules: {use_threads: true, num_workers: 2}

# A run whose pod or node died is marked as failed at the next look, and started again. What fails by itself is not:
# the reconciler comes back to it, ever more slowly.
run_monitoring:
  enabled: true
  start_timeout_seconds: {{ $v.runs.startWithin }}
  cancel_timeout_seconds: 60
  poll_interval_seconds: {{ $v.runs.lookEvery }}
  max_runtime_seconds: {{ $v.runs.longest }}
run_retries:
  enabled: true
  max_retries: {{ $v.runs.retries }}
  retry_on_asset_or_op_failure: false

retention:
  schedule:
    purge_after_days: {skipped: 1, success: 7, failure: 30}
  sensor:
    purge_after_days: {skipped: 1, success: 2, failure: 14}

run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config:
    job_namespace: {{ .Release.Namespace }}
    service_account_name: {{ .Release.Name }}-runs
    job_image: {{ $v.image }}
    image_pull_policy: {{ $v.pullPolicy }}
    {{- with $v.pullSecrets }}
    image_pull_secrets:
      {{- range . }}
      - {name: {{ . }}}
      {{- end }}
    {{- end }}
    dagster_home: {{ include "platform.home" . }}
    instance_config_map: {{ .Release.Name }}-instance
    load_incluster_config: true
    # Whoever can start a run must not be able to write its pod: tags of a run change nothing of what stands here.
    only_allow_user_defined_k8s_config_fields: {}
    only_allow_user_defined_env_vars: []
    run_k8s_config:
      job_metadata:
        labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
      job_spec_config:
        backoff_limit: 0
        ttl_seconds_after_finished: {{ $v.runs.kept }}
        active_deadline_seconds: {{ add $v.runs.longest 600 }}
      pod_template_spec_metadata:
        labels: {app.kubernetes.io/name: homelab-platform, app.kubernetes.io/instance: {{ .Release.Name }}}
      pod_spec_config:
        automount_service_account_token: false
        enable_service_links: false
        termination_grace_period_seconds: 20
        {{- with $v.nodes }}
        affinity:
          node_affinity:
            required_during_scheduling_ignored_during_execution:
              node_selector_terms:
                - match_expressions: [{key: kubernetes.io/hostname, operator: In, values: {{ toJson . }}}]
        {{- end }}
        tolerations:
          - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, toleration_seconds: {{ $v.leaveDeadNodeAfter }}}
          - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, toleration_seconds: {{ $v.leaveDeadNodeAfter }}}
        security_context:
          run_as_non_root: true
          run_as_user: {{ $v.user }}
          run_as_group: {{ $v.user }}
          fs_group: {{ $v.user }}
          seccomp_profile: {type: RuntimeDefault}
        volumes:
          - {name: home, empty_dir: {size_limit: 1Gi}}
          - {name: tmp, empty_dir: {size_limit: 1Gi}}
          - name: lab
            config_map:
              name: {{ .Release.Name }}-lab
              items:
                {{- range $file, $_ := $v.lab }}
                - {key: {{ include "platform.fileKey" $file }}, path: {{ $file | quote }}}
                {{- end }}
      container_config:
        env:
          {{- range include "platform.environment" (dict "root" . "part" "run_worker") | fromYamlArray }}
          {{- if .secret }}
          - {name: {{ .name }}, value_from: {secret_key_ref: {name: {{ .secret }}, key: {{ .key }}}}}
          {{- else if ne .name "DAGSTER_HOME" }}
          - {name: {{ .name }}, value: {{ .value | quote }}}
          {{- end }}
          {{- end }}
        volume_mounts:
          - {name: home, mount_path: {{ include "platform.home" . }}}
          - {name: tmp, mount_path: /tmp}
          - {name: lab, mount_path: {{ include "platform.lab" . }}, read_only: true}
        resources:
          requests: {{ toJson $v.runs.requests }}
          limits: {{ toJson $v.runs.limits }}
        security_context:
          allow_privilege_escalation: false
          read_only_root_filesystem: true
          capabilities: {drop: [ALL]}
{{- end }}
