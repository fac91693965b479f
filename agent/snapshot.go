package agent

import (
	"io"
	"net/http"

	"praetor/structs"
)

// snapshotSave answers with an archive of the cluster's state.
func snapshotSave(c *exchange) error {
	var options structs.QueryOptions
	if err := c.readOptions(&options); err != nil {
		return err
	}
	archive, meta, err := c.server.SaveSnapshot(c.r.Context(), &structs.SnapshotRequest{
		Datacenter: c.query.datacenter(), AllowStale: options.AllowStale,
	})
	if err != nil {
		return err
	}
	defer archive.Close()
	return c.sendArchive(archive, &meta)
}

// sendArchive passes an archive on as it comes. If it breaks off, so does the
// connection: the client must not take a part for the whole.
func (c *exchange) sendArchive(archive io.Reader, meta *structs.QueryMeta) error {
	chunk := make([]byte, 32<<10)
	n, err := io.ReadFull(archive, chunk)
	if err != nil && err != io.ErrUnexpectedEOF {
		return err // nothing was sent yet: an error can still be told
	}
	c.setMeta(meta)
	c.w.Header()["Content-Type"] = typeGzip
	c.w.WriteHeader(http.StatusOK)
	if _, err = c.w.Write(chunk[:n]); err == nil {
		_, err = io.CopyBuffer(c.w, archive, chunk)
	}
	if err == nil {
		return nil
	}
	if c.r.Context().Err() == nil {
		c.logger.Warn("a snapshot could not be sent whole", "to", c.r.RemoteAddr, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// snapshotRestore puts an archive in the place of the cluster's state. With
// ?skip-enterprise, X-Praetor-Dropped says what was left out of it.
func snapshotRestore(c *exchange) error {
	q := &structs.SnapshotRequest{Datacenter: c.query.datacenter(), AllowStale: c.query.has("stale"),
		SkipEnterprise: c.query.has("skip-enterprise")}
	dropped, err := c.server.RestoreSnapshotReport(c.r.Context(), q, c.r.Body)
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		c.w.Header().Set("X-Praetor-Dropped", dropped.String())
	}
	return c.done()
}
