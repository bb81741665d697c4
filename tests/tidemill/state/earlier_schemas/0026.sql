BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0026');
CREATE TABLE alert_steps (
	id VARCHAR NOT NULL, 
	alert_id VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	person VARCHAR NOT NULL, 
	comment VARCHAR, 
	CONSTRAINT pk_alert_steps PRIMARY KEY (id), 
	CONSTRAINT fk_alert_steps_alert_id FOREIGN KEY(alert_id) REFERENCES alerts (id)
);
INSERT INTO "alert_steps" VALUES('alert_steps.id','alerts.id','end','2013-05-01 12:00:00.000000','alert_steps.person','alert_steps.comment');
CREATE TABLE alerts (
	id VARCHAR NOT NULL, 
	monitor VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	details JSON NOT NULL, 
	monitor_run_id VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	raised_at DATETIME NOT NULL, 
	last_seen_at DATETIME NOT NULL, 
	acknowledged_by VARCHAR, 
	acknowledged_at DATETIME, 
	resolved_at DATETIME, found_in INTEGER DEFAULT '1' NOT NULL, occurrence INTEGER DEFAULT '1' NOT NULL, fired_at DATETIME, 
	CONSTRAINT pk_alerts PRIMARY KEY (id), 
	CONSTRAINT fk_alerts_monitor_run_id FOREIGN KEY(monitor_run_id) REFERENCES monitor_runs (id)
);
INSERT INTO "alerts" VALUES('alerts.id','alerts.monitor','shop','3','data_drift','warning','alerts.message','{"of": "details"}','monitor_runs.id','firing','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','alerts.acknowledged_by','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000',1,1,'2013-05-01 12:00:00.000000');
CREATE TABLE "api_keys" (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	scopes JSON NOT NULL, 
	digest VARCHAR NOT NULL, 
	previous_digest VARCHAR, 
	previous_until DATETIME, 
	rate DOUBLE, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR NOT NULL, 
	expires_at DATETIME, 
	rotated_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	roles JSON, 
	owner VARCHAR, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_owner FOREIGN KEY(owner) REFERENCES users (id)
);
INSERT INTO "api_keys" VALUES('api_keys.id','api_keys.name','{"of": "scopes"}','api_keys.digest','api_keys.previous_digest','2013-05-01 12:00:00.000000',0.5,'2013-05-01 12:00:00.000000','api_keys.created_by','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','{"of": "roles"}','users.id');
CREATE TABLE approvals (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	asked_by VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	asked_at DATETIME NOT NULL, 
	decided_at DATETIME, 
	decided_by VARCHAR, 
	comment VARCHAR, terms JSON, 
	CONSTRAINT pk_approvals PRIMARY KEY (id)
);
INSERT INTO "approvals" VALUES('approvals.id','shop','approvals.action','3','a <reason>','approvals.asked_by','approvals.person','promoted','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','approvals.decided_by','approvals.comment','{"of": "terms"}');
CREATE TABLE asked_acts (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	act VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	result JSON, 
	asked_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_asked_acts PRIMARY KEY (id)
);
INSERT INTO "asked_acts" VALUES('asked_acts.id','shop','asked_acts.act','asked_acts.subject','a <reason>','ada','promoted','{"of": "result"}','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE audit_anchors (
	seq INTEGER NOT NULL, 
	hash VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_audit_anchors PRIMARY KEY (seq)
);
INSERT INTO "audit_anchors" VALUES(1,'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','2013-05-01 12:00:00.000000');
CREATE TABLE audit_entries (
	seq INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR NOT NULL, 
	actor_kind VARCHAR NOT NULL, 
	model VARCHAR, 
	action VARCHAR NOT NULL, 
	resource VARCHAR NOT NULL, 
	resource_id VARCHAR NOT NULL, 
	reason VARCHAR, 
	details TEXT NOT NULL, 
	address VARCHAR, 
	prev_hash VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	CONSTRAINT pk_audit_entries PRIMARY KEY (seq)
);
INSERT INTO "audit_entries" VALUES(1,1,'2013-05-01 12:00:00.000000','ada','audit_entries.actor_kind','shop','audit_entries.action','audit_entries.resource','audit_entries.resource_id','a <reason>','audit_entries.details','audit_entries.address','0000000000000000000000000000000000000000000000000000000000000000','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee');
CREATE TABLE batch_runs (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	schedule VARCHAR NOT NULL, 
	slot DATETIME NOT NULL, 
	status VARCHAR NOT NULL, 
	tries INTEGER NOT NULL, 
	version VARCHAR, 
	rows BIGINT, 
	rejected BIGINT, 
	output VARCHAR, 
	error VARCHAR, 
	at DATETIME NOT NULL, 
	requested_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_batch_runs PRIMARY KEY (id)
);
INSERT INTO "batch_runs" VALUES('batch_runs.id','shop','batch_runs.schedule','2013-05-01 12:00:00.000000','promoted',1,'3',1,1,'batch_runs.output','batch_runs.error','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE claims (
	model VARCHAR NOT NULL, 
	work VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	place VARCHAR NOT NULL, 
	holder JSON NOT NULL, 
	until DATETIME NOT NULL, 
	CONSTRAINT pk_claims PRIMARY KEY (model, work)
);
INSERT INTO "claims" VALUES('shop','claims.work','claims.id','claims.place','{"of": "holder"}','2013-05-01 12:00:00.000000');
CREATE TABLE deployments (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	champion VARCHAR NOT NULL, 
	share DOUBLE NOT NULL, 
	salt VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	from_version VARCHAR, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	requested_at DATETIME NOT NULL, 
	live_at DATETIME, 
	ended_at DATETIME, 
	ended_reason VARCHAR, 
	CONSTRAINT pk_deployments PRIMARY KEY (id)
);
INSERT INTO "deployments" VALUES('deployments.id','shop','data_drift','deployments.name','3','deployments.champion',0.5,'deployments.salt','promoted','deployments.from_version','ada','a <reason>','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','deployments.ended_reason');
CREATE TABLE erasures (
	id VARCHAR NOT NULL, 
	entity VARCHAR NOT NULL, 
	pseudonym VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	history BOOLEAN NOT NULL, 
	status VARCHAR NOT NULL, 
	steps JSON NOT NULL, 
	error VARCHAR, 
	requested_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_erasures PRIMARY KEY (id)
);
INSERT INTO "erasures" VALUES('erasures.id','erasures.entity','erasures.pseudonym','ada','a <reason>',1,'promoted','{"of": "steps"}','erasures.error','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE failed_logins (
	subject VARCHAR NOT NULL, 
	failures INTEGER NOT NULL, 
	last_at DATETIME NOT NULL, 
	blocked_until DATETIME, 
	CONSTRAINT pk_failed_logins PRIMARY KEY (subject)
);
INSERT INTO "failed_logins" VALUES('failed_logins.subject',1,'2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE gate_decisions (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	candidate VARCHAR NOT NULL, 
	champion VARCHAR, 
	mode VARCHAR NOT NULL, 
	passed BOOLEAN NOT NULL, 
	reasons JSON NOT NULL, 
	numbers JSON NOT NULL, 
	decided_at DATETIME NOT NULL, actor VARCHAR, 
	CONSTRAINT pk_gate_decisions PRIMARY KEY (id)
);
INSERT INTO "gate_decisions" VALUES('gate_decisions.id','shop','gate_decisions.candidate','gate_decisions.champion','gate_decisions.mode',1,'{"of": "reasons"}','{"of": "numbers"}','2013-05-01 12:00:00.000000','ada');
CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	"key" VARCHAR, 
	digest VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	version VARCHAR, 
	at DATETIME NOT NULL, 
	test BOOLEAN NOT NULL, 
	rows INTEGER NOT NULL, 
	rows_done INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	worker VARCHAR, 
	error VARCHAR, 
	cancel_requested BOOLEAN NOT NULL, 
	requested_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	published_at DATETIME, 
	started_at DATETIME, 
	finished_at DATETIME, erased_at DATETIME, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('jobs.id','shop','jobs.caller','jobs.key','jobs.digest','promoted','3','2013-05-01 12:00:00.000000',1,1,1,1,'jobs.worker','jobs.error',1,'2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE lane_counts (
	replica VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	answered INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	dropped INTEGER NOT NULL, 
	seconds JSON NOT NULL, 
	error VARCHAR, 
	seen_at DATETIME NOT NULL, 
	CONSTRAINT pk_lane_counts PRIMARY KEY (replica, model, role, version)
);
INSERT INTO "lane_counts" VALUES('lane_counts.replica','shop','lane_counts.role','3',1,1,1,'{"of": "seconds"}','lane_counts.error','2013-05-01 12:00:00.000000');
CREATE TABLE linked_accounts (
	issuer VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	user_id VARCHAR NOT NULL, 
	linked_at DATETIME NOT NULL, 
	CONSTRAINT pk_linked_accounts PRIMARY KEY (issuer, subject), 
	CONSTRAINT fk_linked_accounts_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "linked_accounts" VALUES('linked_accounts.issuer','linked_accounts.subject','users.id','2013-05-01 12:00:00.000000');
CREATE TABLE login_sessions (
	digest VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	user_id VARCHAR NOT NULL, 
	csrf VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	seen_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	address VARCHAR NOT NULL, 
	agent VARCHAR NOT NULL, 
	CONSTRAINT pk_login_sessions PRIMARY KEY (digest), 
	CONSTRAINT uq_login_sessions_id UNIQUE (id), 
	CONSTRAINT fk_login_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "login_sessions" VALUES('login_sessions.digest','login_sessions.id','users.id','login_sessions.csrf','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','login_sessions.address','login_sessions.agent');
CREATE TABLE monitor_runs (
	id VARCHAR NOT NULL, 
	monitor VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	window_start DATETIME NOT NULL, 
	window_end DATETIME NOT NULL, 
	rows INTEGER NOT NULL, 
	labelled INTEGER NOT NULL, 
	verdict VARCHAR NOT NULL, 
	results JSON NOT NULL, 
	report_path VARCHAR, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_monitor_runs PRIMARY KEY (id)
);
INSERT INTO "monitor_runs" VALUES('monitor_runs.id','monitor_runs.monitor','shop','3','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000',1,1,'monitor_runs.verdict','{"of": "results"}','monitor_runs.report_path','2013-05-01 12:00:00.000000');
CREATE TABLE notifications (
	id VARCHAR NOT NULL, 
	alert_id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	occurrence INTEGER NOT NULL, 
	receiver VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	group_key VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	reason VARCHAR, 
	at DATETIME NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_at DATETIME NOT NULL, 
	error VARCHAR, 
	sent_at DATETIME, 
	CONSTRAINT pk_notifications PRIMARY KEY (id), 
	CONSTRAINT fk_notifications_alert_id FOREIGN KEY(alert_id) REFERENCES alerts (id)
);
INSERT INTO "notifications" VALUES('notifications.id','alerts.id','shop',1,'notifications.receiver','end','notifications.group_key','promoted','a <reason>','2013-05-01 12:00:00.000000',1,'2013-05-01 12:00:00.000000','notifications.error','2013-05-01 12:00:00.000000');
CREATE TABLE policy_backtests (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	results JSON NOT NULL, 
	made_at DATETIME NOT NULL, 
	CONSTRAINT pk_policy_backtests PRIMARY KEY (id)
);
INSERT INTO "policy_backtests" VALUES('policy_backtests.id','shop','ada','{"of": "results"}','2013-05-01 12:00:00.000000');
CREATE TABLE policy_decisions (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	policy VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	episode VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	cause_message VARCHAR NOT NULL, 
	rule VARCHAR, 
	reason VARCHAR NOT NULL, 
	alert_id VARCHAR, 
	turn_id VARCHAR, 
	first_at DATETIME NOT NULL, 
	last_at DATETIME NOT NULL, 
	rounds INTEGER NOT NULL, 
	CONSTRAINT pk_policy_decisions PRIMARY KEY (id)
);
INSERT INTO "policy_decisions" VALUES('policy_decisions.id','shop','policy_decisions.policy','policy_decisions.verdict','policy_decisions.episode','policy_decisions.cause','policy_decisions.cause_message','policy_decisions.rule','a <reason>','policy_decisions.alert_id','policy_decisions.turn_id','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000',1);
CREATE TABLE projects (
	model VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	root VARCHAR NOT NULL, 
	seen_at DATETIME NOT NULL, 
	CONSTRAINT pk_projects PRIMARY KEY (model)
);
INSERT INTO "projects" VALUES('shop','projects.name','projects.root','2013-05-01 12:00:00.000000');
CREATE TABLE promotions (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	alias VARCHAR NOT NULL, 
	from_version VARCHAR, 
	to_version VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	decision_id VARCHAR, 
	turn_id VARCHAR, 
	at DATETIME NOT NULL, 
	requested_at DATETIME NOT NULL, 
	CONSTRAINT pk_promotions PRIMARY KEY (id), 
	CONSTRAINT fk_promotions_decision_id FOREIGN KEY(decision_id) REFERENCES gate_decisions (id), 
	CONSTRAINT fk_promotions_turn_id FOREIGN KEY(turn_id) REFERENCES turns (id), 
	CONSTRAINT uq_promotions_turn_id UNIQUE (turn_id)
);
INSERT INTO "promotions" VALUES('promotions.id','shop','promotions.alias','promotions.from_version','promotions.to_version','data_drift','promoted','ada','a <reason>','gate_decisions.id','turns.id','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE replicas (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version VARCHAR, 
	wanted VARCHAR, 
	error VARCHAR, 
	loaded_at DATETIME, 
	seen_at DATETIME NOT NULL, lanes JSON, 
	CONSTRAINT pk_replicas PRIMARY KEY (id)
);
INSERT INTO "replicas" VALUES('replicas.id','shop','3','replicas.wanted','replicas.error','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','{"of": "lanes"}');
CREATE TABLE role_grants (
	user_id VARCHAR NOT NULL, 
	project VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	granted_at DATETIME NOT NULL, 
	granted_by VARCHAR NOT NULL, 
	CONSTRAINT pk_role_grants PRIMARY KEY (user_id, project, role), 
	CONSTRAINT fk_role_grants_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "role_grants" VALUES('users.id','role_grants.project','role_grants.role','2013-05-01 12:00:00.000000','role_grants.granted_by');
CREATE TABLE rollouts (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	champion VARCHAR NOT NULL, 
	"plan" JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	step INTEGER NOT NULL, 
	baseline JSON NOT NULL, 
	checks JSON NOT NULL, 
	decision_id VARCHAR, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	outcome VARCHAR, 
	at DATETIME NOT NULL, 
	stepped_at DATETIME NOT NULL, 
	requested_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_rollouts PRIMARY KEY (id), 
	CONSTRAINT fk_rollouts_decision_id_gate_decisions FOREIGN KEY(decision_id) REFERENCES gate_decisions (id)
);
INSERT INTO "rollouts" VALUES('rollouts.id','shop','3','rollouts.champion','{"of": "plan"}','promoted',1,'{"of": "baseline"}','{"of": "checks"}','gate_decisions.id','ada','a <reason>','rollouts.outcome','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE seen_versions (
	model VARCHAR NOT NULL, 
	versions JSON NOT NULL, 
	CONSTRAINT pk_seen_versions PRIMARY KEY (model)
);
INSERT INTO "seen_versions" VALUES('shop','{"of": "versions"}');
CREATE TABLE sign_on_attempts (
	state VARCHAR NOT NULL, 
	browser VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	nonce VARCHAR NOT NULL, 
	verifier VARCHAR NOT NULL, 
	target VARCHAR NOT NULL, 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_sign_on_attempts PRIMARY KEY (state)
);
INSERT INTO "sign_on_attempts" VALUES('done','sign_on_attempts.browser','sign_on_attempts.provider','sign_on_attempts.nonce','sign_on_attempts.verifier','sign_on_attempts.target','2013-05-01 12:00:00.000000');
CREATE TABLE silences (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	matchers JSON NOT NULL, 
	author VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	starts_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	CONSTRAINT pk_silences PRIMARY KEY (id)
);
INSERT INTO "silences" VALUES('silences.id','shop','{"of": "matchers"}','silences.author','a <reason>','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE stage_moves (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	from_version VARCHAR, 
	to_version VARCHAR, 
	kind VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	champion VARCHAR, 
	mode VARCHAR, 
	passed BOOLEAN, 
	reasons JSON NOT NULL, 
	numbers JSON NOT NULL, 
	digest VARCHAR, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	requested_at DATETIME NOT NULL, 
	CONSTRAINT pk_stage_moves PRIMARY KEY (id)
);
INSERT INTO "stage_moves" VALUES('stage_moves.id','shop','stage_moves.stage','stage_moves.from_version','stage_moves.to_version','data_drift','promoted','stage_moves.champion','stage_moves.mode',1,'{"of": "reasons"}','{"of": "numbers"}','stage_moves.digest','ada','a <reason>','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE TABLE turns (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	"trigger" VARCHAR NOT NULL, 
	policy VARCHAR, 
	reason VARCHAR NOT NULL, 
	alert_id VARCHAR, 
	actor VARCHAR NOT NULL, 
	promote BOOLEAN NOT NULL, 
	overrides JSON NOT NULL, 
	as_of DATETIME NOT NULL, 
	status VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	data_revision VARCHAR, 
	run_id VARCHAR, 
	version VARCHAR, 
	decision_id VARCHAR, 
	error VARCHAR, 
	seconds JSON NOT NULL, 
	requested_at DATETIME NOT NULL, 
	finished_at DATETIME, cause VARCHAR, inputs JSON, cpu_seconds DOUBLE, recipe JSON, windows JSON, action VARCHAR, question JSON, gpu_seconds DOUBLE, 
	CONSTRAINT pk_turns PRIMARY KEY (id), 
	CONSTRAINT fk_turns_alert_id FOREIGN KEY(alert_id) REFERENCES alerts (id), 
	CONSTRAINT fk_turns_decision_id FOREIGN KEY(decision_id) REFERENCES gate_decisions (id)
);
INSERT INTO "turns" VALUES('turns.id','shop','manual','turns.policy','a <reason>','alerts.id','ada',1,'{"of": "overrides"}','2013-05-01 12:00:00.000000','promoted','end','turns.data_revision','turns.run_id','3','gate_decisions.id','turns.error','{"of": "seconds"}','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','turns.cause','{"of": "inputs"}',0.5,'{"of": "recipe"}','{"of": "windows"}','turns.action','{"of": "question"}',0.5);
CREATE TABLE users (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	name_folded VARCHAR NOT NULL, 
	display_name VARCHAR NOT NULL, 
	password VARCHAR, 
	password_at DATETIME, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR NOT NULL, 
	disabled_at DATETIME, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name_folded UNIQUE (name_folded)
);
INSERT INTO "users" VALUES('users.id','users.name','users.name_folded','users.display_name','users.password','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','users.created_by','2013-05-01 12:00:00.000000');
CREATE TABLE webhook_cursors (
	model VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	seq BIGINT NOT NULL, 
	attempts INTEGER NOT NULL, 
	due_at DATETIME NOT NULL, 
	taken_at DATETIME, 
	problem VARCHAR, 
	CONSTRAINT pk_webhook_cursors PRIMARY KEY (model, name)
);
INSERT INTO "webhook_cursors" VALUES('shop','webhook_cursors.name',1,1,'2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','webhook_cursors.problem');
CREATE INDEX ix_monitor_runs_monitor_at ON monitor_runs (monitor, at);
CREATE INDEX ix_alerts_model_raised_at ON alerts (model, raised_at);
CREATE UNIQUE INDEX uq_turns_one_running_a_model ON turns (model) WHERE status = 'running';
CREATE INDEX ix_promotions_model_requested_at ON promotions (model, requested_at);
CREATE INDEX ix_erasures_pseudonym ON erasures (pseudonym);
CREATE INDEX ix_deployments_model_requested_at ON deployments (model, requested_at);
CREATE UNIQUE INDEX uq_deployments_one_live_a_name ON deployments (model, name) WHERE status = 'live';
CREATE UNIQUE INDEX uq_rollouts_one_running_a_model ON rollouts (model) WHERE status IN ('running', 'promoting');
CREATE UNIQUE INDEX uq_jobs_model_caller_key ON jobs (model, caller, "key");
CREATE INDEX ix_jobs_model_status_due_at ON jobs (model, status, due_at);
CREATE UNIQUE INDEX uq_batch_runs_slot ON batch_runs (model, schedule, slot);
CREATE INDEX ix_alert_steps_alert_id ON alert_steps (alert_id);
CREATE INDEX ix_notifications_alert_id ON notifications (alert_id);
CREATE INDEX ix_notifications_model_status ON notifications (model, status);
CREATE UNIQUE INDEX uq_policy_decisions_episode ON policy_decisions (model, policy, episode);
CREATE INDEX ix_policy_decisions_model_last_at ON policy_decisions (model, last_at);
CREATE INDEX ix_monitor_runs_model_at_id ON monitor_runs (model, at, id);
CREATE INDEX ix_monitor_runs_model_monitor_at_id ON monitor_runs (model, monitor, at, id);
CREATE INDEX ix_promotions_model_requested_at_id ON promotions (model, requested_at, id);
CREATE INDEX ix_gate_decisions_model_decided_at_id ON gate_decisions (model, decided_at, id);
CREATE INDEX ix_gate_decisions_model_candidate ON gate_decisions (model, candidate);
CREATE INDEX ix_turns_model_requested_at_id ON turns (model, requested_at, id);
CREATE INDEX ix_alerts_model_status_raised_at ON alerts (model, status, raised_at);
CREATE INDEX ix_notifications_model_at_id ON notifications (model, at, id);
CREATE INDEX ix_rollouts_model_requested_at_id ON rollouts (model, requested_at, id);
CREATE INDEX ix_batch_runs_model_slot ON batch_runs (model, slot);
CREATE INDEX ix_jobs_model_requested_at_id ON jobs (model, requested_at, id);
CREATE INDEX ix_login_sessions_user_id_created_at ON login_sessions (user_id, created_at);
CREATE INDEX ix_failed_logins_last_at ON failed_logins (last_at);
CREATE UNIQUE INDEX uq_api_keys_one_name_in_use ON api_keys (name) WHERE revoked_at IS NULL;
CREATE INDEX ix_api_keys_owner ON api_keys (owner);
CREATE INDEX ix_audit_entries_at_seq ON audit_entries (at, seq);
CREATE INDEX ix_audit_entries_model_at_seq ON audit_entries (model, at, seq);
CREATE INDEX ix_audit_entries_actor_at_seq ON audit_entries (actor, at, seq);
CREATE INDEX ix_audit_entries_action_at_seq ON audit_entries (action, at, seq);
CREATE INDEX ix_audit_entries_model_actor_at_seq ON audit_entries (model, actor, at, seq);
CREATE INDEX ix_audit_entries_model_action_at_seq ON audit_entries (model, action, at, seq);
CREATE TRIGGER audit_entries_insert BEFORE INSERT ON audit_entries WHEN NEW.seq IS NOT COALESCE((SELECT MAX(seq) FROM audit_entries), (SELECT MAX(seq) FROM audit_anchors), 0) + 1 OR NEW.prev_hash IS NOT COALESCE((SELECT hash FROM audit_entries ORDER BY seq DESC LIMIT 1), (SELECT hash FROM audit_anchors ORDER BY seq DESC LIMIT 1), '0000000000000000000000000000000000000000000000000000000000000000') BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entries_update BEFORE UPDATE ON audit_entries WHEN 1 BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entries_delete BEFORE DELETE ON audit_entries WHEN OLD.seq > COALESCE((SELECT MAX(seq) FROM audit_anchors), 0) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_anchors_insert BEFORE INSERT ON audit_anchors WHEN NOT EXISTS (SELECT 1 FROM audit_entries WHERE seq = NEW.seq AND hash = NEW.hash) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_anchors_update BEFORE UPDATE ON audit_anchors WHEN 1 BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_anchors_delete BEFORE DELETE ON audit_anchors WHEN 1 BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE INDEX ix_approvals_model_asked_at_id ON approvals (model, asked_at, id);
CREATE INDEX ix_linked_accounts_user_id ON linked_accounts (user_id);
CREATE INDEX ix_sign_on_attempts_expires_at ON sign_on_attempts (expires_at);
CREATE INDEX ix_audit_entries_actor_action_at_seq ON audit_entries (actor, action, at, seq);
CREATE INDEX ix_audit_entries_model_actor_action_at_seq ON audit_entries (model, actor, action, at, seq);
CREATE INDEX ix_policy_backtests_model_made_at ON policy_backtests (model, made_at);
CREATE INDEX ix_asked_acts_model_asked_at ON asked_acts (model, asked_at);
CREATE UNIQUE INDEX uq_asked_acts_one_running ON asked_acts (model, act, subject) WHERE status = 'running';
CREATE INDEX ix_alert_steps_step_at ON alert_steps (step, at);
CREATE INDEX ix_promotions_model_at_id ON promotions (model, at, id);
CREATE INDEX ix_rollouts_model_at_id ON rollouts (model, at, id);
CREATE INDEX ix_turns_model_version_requested_at ON turns (model, version, requested_at);
CREATE INDEX ix_stage_moves_model_requested_at_id ON stage_moves (model, requested_at, id);
COMMIT;
