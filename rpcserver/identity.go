package rpcserver

import (
	"fmt"

	"github.com/hashicorp/go-uuid"
	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

// A cluster has an id, made by its first leader and kept in the state. Servers
// show it in gossip, so that two clusters are never made one by a join to the
// wrong address: the leader of one would overwrite the data of the other.
const (
	clusterIDKey = structs.ClusterIDKey // system metadata entry
	clusterIDTag = "praetor_cluster"    // serf tag; absent while it is not known
)

// ownCluster is the cluster id that this server shows, "" while it knows none.
func (s *Server) ownCluster() string {
	id, _ := s.clusterID.Load().(string)
	return id
}

// keepClusterID writes the cluster's id if there is none, or if a restored
// snapshot has brought that of the cluster it was taken from.
func (s *Server) keepClusterID() error {
	stored := s.fsm.Store().Read().MetadataValue(clusterIDKey)
	id := s.ownCluster()
	if id == "" {
		id = stored
	}
	if id == "" {
		var err error
		if id, err = uuid.GenerateUUID(); err != nil {
			return err
		}
	}
	if id == stored {
		return nil
	}
	_, err := s.apply(&structs.MetadataRequest{
		Datacenter: s.config.Datacenter, Op: structs.MetadataUpsert,
		Entry: &structs.MetadataEntry{Key: clusterIDKey, Value: id},
	})
	return err
}

// learnClusterID waits for the id to come into the state and shows it.
func (s *Server) learnClusterID() {
	for {
		r := s.fsm.Store().Watch()
		if id := r.MetadataValue(clusterIDKey); id != "" {
			s.showClusterID(id)
			return
		}
		if r.Wait(s.ctx) != nil {
			return
		}
	}
}

// showClusterID puts the id into our tags. Serf waits some seconds for others to
// hear of it, which must not keep the server from stopping.
func (s *Server) showClusterID(id string) {
	s.clusterID.Store(id)
	tags := s.tags()
	tags[clusterIDTag] = id
	shown := make(chan error, 1)
	go func() { shown <- s.serf.SetTags(tags) }()
	select {
	case err := <-shown:
		if err != nil {
			s.logger.Warn("not everybody may have heard the cluster id yet", "error", err)
		}
	case <-s.ctx.Done():
	}
}

// checkCluster refuses a member of another cluster.
func (s *Server) checkCluster(m *serf.Member) error {
	ours, theirs := s.ownCluster(), m.Tags[clusterIDTag]
	if ours == "" || theirs == "" || ours == theirs {
		return nil
	}
	return fmt.Errorf("server %s at %s belongs to another cluster (%s, ours is %s): "+
		"to make it a member of this one, start it with an empty data directory", m.Name, m.Addr, theirs, ours)
}
