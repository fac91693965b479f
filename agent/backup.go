package agent

import (
	"context"
	"net/url"
	"time"

	"praetor/agent/backup"
	"praetor/agent/config"
	"praetor/structs"
)

// BackupTarget is a backup target as the configuration describes it; a url, if
// given, stands in for the configured one.
func BackupTarget(c config.Backup, url string) (backup.Target, error) {
	if url == "" {
		url = c.Target
	}
	return backup.Open(url, backup.Options{
		CredentialsFile: c.CredentialsFile, Recipients: c.Recipients, IdentityFile: c.IdentityFile, PassphraseFile: c.PassphraseFile,
	})
}

// newBackups returns what keeps backups, nil if none are to be kept.
func (a *Agent) newBackups() (*backup.Keeper, error) {
	c := a.config.Backup
	if c.Target == "" {
		return nil, nil
	}
	target, err := BackupTarget(c, "")
	if err != nil {
		return nil, err
	}
	var schedule backup.Schedule = backup.Every(c.Interval)
	if c.Cron != "" {
		if schedule, err = backup.Cron(c.Cron); err != nil {
			return nil, err
		}
	}
	return backup.New(backup.Settings{
		Target: target, URL: withoutSecrets(c.Target), Schedule: schedule, Keep: c.Keep, KeepFor: c.KeepFor,
		Server: a.config.NodeName, Version: Version,
		Sealed: len(c.Recipients) > 0 || c.IdentityFile != "" || c.PassphraseFile != "",
		Logger: a.logger.Named("backup"),
	}), nil
}

func withoutSecrets(target string) string {
	if u, err := url.Parse(target); err == nil && u.User != nil {
		return u.Redacted()
	}
	return target
}

func (c *exchange) backupStatus(ctx context.Context) (*structs.BackupStatus, error) {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	var reply structs.BackupStatusReply
	err := c.server.Call(ctx, "Operator.BackupStatus", &q, &reply)
	return &reply.Status, err
}

// backupStatus answers how backups are doing. Who leads knows; any server may
// be asked.
func backupStatus(c *exchange) error {
	status, err := c.backupStatus(c.r.Context())
	if err != nil {
		return err
	}
	return c.reply(status)
}

// runPoll is how often the leader is asked whether a backup is done. Asking is
// how it can take longer than any one call may.
const runPoll = 200 * time.Millisecond

// backupRun has a backup taken now and answers with its record once it is
// verified.
func backupRun(c *exchange) error {
	var started structs.BackupStarted
	if err := c.call("Operator.BackupRun", &structs.DCSpecificRequest{Datacenter: c.query.datacenter()}, &started); err != nil {
		return err
	}
	ctx := c.r.Context()
	for {
		status, err := c.backupStatus(ctx)
		switch {
		case err != nil:
			return err
		case status.Leader != started.Leader || status.Started+1 < started.Attempt:
			return structs.Errorf(structs.Unclear, "the leader has changed from %s to %s meanwhile, which will take the backup when it is due",
				started.Leader, status.Leader)
		case status.Succeeded >= started.Attempt:
			return c.reply(status.Last)
		case status.Finished >= started.Attempt && status.Failures == 0:
			return structs.Errorf(structs.Unclear, "the leader has lost its leadership meanwhile: run the backup again")
		case status.Finished >= started.Attempt:
			return structs.Errorf(structs.Unreachable, "the backup did not work: %s", status.LastError)
		}
		select {
		case <-time.After(runPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
