package command

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/hashicorp/consul/api"

	"praetor/structs"
)

var raftHelp = help{`
The raft configuration says which servers hold the state and which of them vote. Servers that join or leave are added
and removed by themselves; these commands are for when that is not enough.`,
	[]string{`operator raft list-peers`, `operator raft transfer-leader`, `operator raft remove-peer -address=10.0.0.13:8300`},
}

func raftList(v *verb) {
	v.help = help{`
Lists the servers of the raft configuration, which one leads, which of them vote, and how far each one's log is.
With -stale any server answers, also when there is no leader.`,
		[]string{`operator raft list-peers`, `operator raft list-peers -stale`, `operator raft list-peers -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		config, err := client.Operator().RaftGetConfiguration(v.connection.read())
		if err != nil {
			return fmt.Errorf("getting peers: %w", err)
		}
		if v.json() {
			return v.printJSON(append([]*api.RaftServer{}, config.Servers...))
		}
		var leader uint64
		for _, s := range config.Servers {
			if s.Leader {
				leader = s.LastIndex
			}
		}
		rows := [][]string{{"Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"}}
		for _, s := range config.Servers {
			state, trails := "follower", "-"
			switch {
			case s.Leader:
				state = "leader"
			case s.LastIndex == 0 || leader == 0: // it, or the leader, did not answer
				trails = "unknown"
			default:
				trails = fmt.Sprintf("%d commits", leader-min(leader, s.LastIndex))
			}
			rows = append(rows, []string{s.Node, s.ID, s.Address, state, strconv.FormatBool(s.Voter),
				s.ProtocolVersion, strconv.FormatUint(s.LastIndex, 10), trails})
		}
		return v.printTable(rows)
	}
}

// peerFlags name a server of the configuration, by one of the two.
func (v *verb) peerFlags(peer *structs.RaftPeerRequest) {
	v.flags.StringVar(&peer.ID, "id", "", "The server's `id`, as list-peers shows it.")
	v.flags.StringVar(&peer.Address, "address", "", "The server's RPC `address`, ip:port.")
}

func named(p *structs.RaftPeerRequest) (string, error) {
	switch {
	case (p.ID == "") == (p.Address == ""):
		return "", misusef("Name the server by -id or by -address, one of the two")
	case p.ID != "":
		return fmt.Sprintf("with id %q", p.ID), nil
	}
	return fmt.Sprintf("with address %q", p.Address), nil
}

func raftRemove(v *verb) {
	v.help = help{`
Removes a server that is gone for good from the raft configuration. Prefer "praetor leave" on the server itself, or
"praetor force-leave": this is for what they left behind.`,
		[]string{`operator raft remove-peer -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10`, `operator raft remove-peer -address=10.0.0.13:8300`},
	}
	var peer structs.RaftPeerRequest
	v.peerFlags(&peer)
	v.run = func([]string) error {
		who, err := named(&peer)
		if err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		if peer.ID != "" {
			err = client.Operator().RaftRemovePeerByID(peer.ID, nil)
		} else {
			err = client.Operator().RaftRemovePeerByAddress(peer.Address, nil)
		}
		if err != nil {
			return fmt.Errorf("removing peer: %w", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Removed peer", who)
		return err
	}
}

func raftAdd(v *verb) {
	v.help = help{`
Adds a server to the raft configuration by hand. Servers that find each other by gossip need no such help.`,
		[]string{`operator raft add-peer -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10 -address=10.0.0.13:8300`,
			`operator raft add-peer -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10 -address=10.0.0.13:8300 -non-voter`},
	}
	var peer structs.RaftPeerRequest
	v.peerFlags(&peer)
	v.flags.BoolVar(&peer.NonVoter, "non-voter", false, "Give it no vote, now and later.")
	v.run = func([]string) error {
		if peer.ID == "" || peer.Address == "" {
			return misusef("A new server needs both -id and -address")
		}
		return v.changePeer("peer", &peer, "adding peer", fmt.Sprintf("Added peer with id %q", peer.ID))
	}
}

func raftPromote(v *verb) {
	v.help = help{`
Gives a server that has none a vote.`,
		[]string{`operator raft promote-peer -address=10.0.0.13:8300`, `operator raft promote-peer -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10`},
	}
	v.vote("promote", "promoting peer", "Promoted peer")
}

func raftDemote(v *verb) {
	v.help = help{`
Takes a server's vote: it keeps a copy of the state, and no longer counts for a majority.`,
		[]string{`operator raft demote-peer -address=10.0.0.13:8300`, `operator raft demote-peer -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10`},
	}
	v.vote("demote", "demoting peer", "Demoted peer")
}

func (v *verb) vote(path, doing, done string) {
	var peer structs.RaftPeerRequest
	v.peerFlags(&peer)
	v.run = func([]string) error {
		who, err := named(&peer)
		if err != nil {
			return err
		}
		return v.changePeer(path, &peer, doing, done+" "+who)
	}
}

func (v *verb) changePeer(path string, peer *structs.RaftPeerRequest, doing, done string) error {
	client, err := v.connection.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"id": peer.ID, "address": peer.Address} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if peer.NonVoter {
		query.Set("non_voter", "true")
	}
	if err := v.connection.put(client, "/v1/operator/raft/"+path, query); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	_, err = fmt.Fprintln(v.stdout, done)
	return err
}

func raftTransfer(v *verb) {
	v.help = help{`
Makes the leader hand over to another server: the one with -id, else the one whose log is furthest. Good before the
leader is restarted.`,
		[]string{`operator raft transfer-leader`, `operator raft transfer-leader -id=7b5a4c1e-9d2f-4e0b-8a51-6f3d2c9b7e10`},
	}
	id := v.flags.String("id", "", "The new leader's `id`, as list-peers shows it.")
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		reply, err := client.Operator().RaftLeaderTransfer(*id, nil)
		if err == nil && !reply.Success {
			err = failf("the server did not say why")
		}
		if err != nil {
			if unreachable(err) {
				return err
			}
			return failf("Error transfering leadership: Failed to transfer leadership: %v", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Success")
		return err
	}
}
