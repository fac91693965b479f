package state

import "praetor/structs"

// AutopilotConfig holds at most one row. As in Consul it has no index row.
var AutopilotConfig = newTable("autopilot-config", func(*structs.AutopilotConfig) Key { return Key{0} })

// Autopilot returns the autopilot configuration, or nil if none was written yet.
func (r *Reader) Autopilot() *structs.AutopilotConfig {
	config := AutopilotConfig.get(r, Key{0})
	if config != nil {
		r.saw(config.ModifyIndex)
	}
	return config
}

// ApplyAutopilot sets the autopilot configuration and returns whether it did:
// with CAS, only if the index is still that of the stored one.
func (w *Writer) ApplyAutopilot(c *structs.AutopilotRequest) (bool, error) {
	row := c.Config
	before := AutopilotConfig.get(&w.Reader, Key{0})
	row.CreateIndex = w.index
	var index uint64
	if before != nil {
		row.CreateIndex, index = before.CreateIndex, before.ModifyIndex
	}
	if c.CAS && c.Config.ModifyIndex != index {
		return false, nil
	}
	row.ModifyIndex = w.index
	AutopilotConfig.put(w, &row)
	return true, nil
}
