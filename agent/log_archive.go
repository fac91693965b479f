package agent

import (
	"context"
	"time"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/structs"
)

// backups are what the server knows of backups: the Keeper, and how the archived
// log stands.
type backups struct {
	*backup.Keeper
	agent *Agent
}

// Status is how both are doing.
func (b *backups) Status() structs.BackupStatus {
	s := b.Keeper.Status()
	if archiver := b.agent.archive.Load(); archiver != nil {
		log := archiver.Status()
		s.Log = &log
	}
	return s
}

// archiveLog begins to archive the log whenever our server leads.
func (a *Agent) archiveLog() {
	if a.backups == nil || a.config.Backup.LogLag == 0 {
		return
	}
	archiver := journal.New(journal.Config{
		Source: a.server, Target: a.backups.Target, Lag: a.config.Backup.LogLag,
		Backup: a.takeBackup, Logger: a.logger.Named("backup.log"),
	})
	a.archive.Store(archiver)
	a.tasks.Go(func() { archiver.Run(a.ctx) })
}

// takeBackup takes a backup and waits for it, while our server leads.
func (a *Agent) takeBackup(ctx context.Context) error {
	number := a.backups.Run()
	for {
		switch s := a.backups.Status(); {
		case s.Succeeded >= number:
			return nil
		case s.Finished >= number:
			return structs.Errorf(structs.Unreachable, "the backup did not work: %s", s.LastError)
		case !a.server.IsLeader():
			return structs.ErrNoLeader
		}
		select {
		case <-time.After(runPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
