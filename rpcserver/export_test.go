package rpcserver

import "praetor/structs"

// Method is a row of the table of methods, for tests that walk it.
type Method struct {
	Name        string
	Args, Reply func() any
}

// Methods returns the table of methods.
func Methods() (list []Method) {
	for _, m := range methods {
		list = append(list, Method{m.name, m.newArgs, m.newReply})
	}
	return list
}

// SameMethod reports whether both names stand for one method.
func SameMethod(a, b string) bool { return byName[a] != nil && byName[a] == byName[b] }

// Judge names the verdict that hashes give.
func Judge(ours structs.StateHash, others []structs.StateHash, servers int) string {
	return [...]string{undecided: "undecided", agreed: "agreed", wrong: "wrong", disputed: "disputed"}[judge(ours, others, servers)]
}
