BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
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
	resolved_at DATETIME, 
	CONSTRAINT pk_alerts PRIMARY KEY (id), 
	CONSTRAINT fk_alerts_monitor_run_id FOREIGN KEY(monitor_run_id) REFERENCES monitor_runs (id)
);
INSERT INTO "alerts" VALUES('alerts.id','alerts.monitor','shop','3','data_drift','warning','alerts.message','{"of": "details"}','monitor_runs.id','open','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000','alerts.acknowledged_by','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
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
CREATE TABLE gate_decisions (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	candidate VARCHAR NOT NULL, 
	champion VARCHAR, 
	mode VARCHAR NOT NULL, 
	passed BOOLEAN NOT NULL, 
	reasons JSON NOT NULL, 
	numbers JSON NOT NULL, 
	decided_at DATETIME NOT NULL, 
	CONSTRAINT pk_gate_decisions PRIMARY KEY (id)
);
INSERT INTO "gate_decisions" VALUES('gate_decisions.id','shop','gate_decisions.candidate','gate_decisions.champion','gate_decisions.mode',1,'{"of": "reasons"}','{"of": "numbers"}','2013-05-01 12:00:00.000000');
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
	seen_at DATETIME NOT NULL, 
	CONSTRAINT pk_replicas PRIMARY KEY (id)
);
INSERT INTO "replicas" VALUES('replicas.id','shop','3','replicas.wanted','replicas.error','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
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
	finished_at DATETIME, 
	CONSTRAINT pk_turns PRIMARY KEY (id), 
	CONSTRAINT fk_turns_alert_id FOREIGN KEY(alert_id) REFERENCES alerts (id), 
	CONSTRAINT fk_turns_decision_id FOREIGN KEY(decision_id) REFERENCES gate_decisions (id)
);
INSERT INTO "turns" VALUES('turns.id','shop','manual','turns.policy','a <reason>','alerts.id','ada',1,'{"of": "overrides"}','2013-05-01 12:00:00.000000','promoted','end','turns.data_revision','turns.run_id','3','gate_decisions.id','turns.error','{"of": "seconds"}','2013-05-01 12:00:00.000000','2013-05-01 12:00:00.000000');
CREATE INDEX ix_monitor_runs_monitor_at ON monitor_runs (monitor, at);
CREATE INDEX ix_alerts_model_raised_at ON alerts (model, raised_at);
CREATE UNIQUE INDEX uq_turns_one_running_a_model ON turns (model) WHERE status = 'running';
CREATE INDEX ix_promotions_model_requested_at ON promotions (model, requested_at);
CREATE INDEX ix_erasures_pseudonym ON erasures (pseudonym);
COMMIT;
