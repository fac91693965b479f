package history

import (
	"maps"
	"slices"
)

// union puts names into groups (union-find). The name of a group is one of its
// members.
type union struct{ parent map[string]string }

func newUnion() *union { return &union{map[string]string{}} }

// add puts names into one group; each is in one of its own until then.
func (u *union) add(names ...string) {
	for _, name := range names {
		if _, known := u.parent[name]; !known {
			u.parent[name] = name
		}
		u.join(names[0], name)
	}
}

func (u *union) find(name string) string {
	for {
		above, known := u.parent[name]
		if !known || above == name {
			return name
		}
		u.parent[name] = u.parent[above]
		name = above
	}
}

func (u *union) join(a, b string) {
	if a, b = u.find(a), u.find(b); a != b {
		u.parent[max(a, b)] = min(a, b)
	}
}

// names are all names, in order.
func (u *union) names() []string { return slices.Sorted(maps.Keys(u.parent)) }
