package agent

import (
	"io"
	"net/http"

	"praetor/structs"
)

// snapshotSave answers with an archive of the cluster's state. If the archive
// breaks off, so does the connection: the client must not take half of it for
// the whole.
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
	start := make([]byte, 32<<10)
	n, err := io.ReadFull(archive, start)
	if err != nil && err != io.ErrUnexpectedEOF {
		return err // nothing was sent yet: an error can still be told
	}
	c.setMeta(&meta)
	c.w.Header()["Content-Type"] = typeGzip
	c.w.WriteHeader(http.StatusOK)
	if _, err = c.w.Write(start[:n]); err == nil {
		_, err = io.CopyBuffer(c.w, archive, start)
	}
	if err != nil {
		c.logger.Warn("a snapshot could not be sent whole", "to", c.r.RemoteAddr, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func snapshotRestore(c *exchange) error {
	q := &structs.SnapshotRequest{Datacenter: c.query.datacenter(), AllowStale: c.query.has("stale")}
	if err := c.server.RestoreSnapshot(c.r.Context(), q, c.r.Body); err != nil {
		return err
	}
	return c.done()
}
