-- A database of revision 0001, as it was made when that was the last.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit (
	number INTEGER NOT NULL, 
	session VARCHAR(8) NOT NULL, 
	at DATETIME NOT NULL, 
	line TEXT NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE events (
	number INTEGER NOT NULL, 
	launch VARCHAR(21) NOT NULL, 
	session VARCHAR(8) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	at DATETIME NOT NULL, 
	what VARCHAR(16) NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	reason VARCHAR(32) NOT NULL, 
	detail TEXT NOT NULL, 
	"by" VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number), 
	CONSTRAINT events_once UNIQUE (launch, what, phase, at)
);
CREATE TABLE identities (
	name VARCHAR(64) NOT NULL, 
	known TEXT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE meta (
	"key" VARCHAR(32) NOT NULL, 
	value VARCHAR(255) NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE news (
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	item TEXT NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE refusals (
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	refusal TEXT NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE sessions (
	id VARCHAR(8) NOT NULL, 
	launch VARCHAR(21) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	asked DATETIME NOT NULL, 
	ended DATETIME, 
	record TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (launch)
);
CREATE TABLE shares (
	id VARCHAR(32) NOT NULL, 
	session VARCHAR(8) NOT NULL, 
	code VARCHAR(64) NOT NULL, 
	until DATETIME NOT NULL, 
	over DATETIME, 
	share TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX sessions_of_owner ON sessions (owner, ended);
CREATE INDEX sessions_by_end ON sessions (ended);
CREATE INDEX sessions_by_start ON sessions (owner, asked);
CREATE INDEX events_of_session ON events (session, at);
CREATE INDEX events_by_time ON events (at);
CREATE INDEX shares_of_session ON shares (session, over);
CREATE INDEX shares_by_code ON shares (code);
CREATE INDEX shares_by_end ON shares (over);
CREATE INDEX audit_of_session ON audit (session);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX ix_refusals_at ON refusals (at);
CREATE INDEX ix_news_at ON news (at);
COMMIT;
