package config

import "reflect"

// Reloadable compares two configurations as Load returned them and names the keys that differ: those that a running
// server takes over, and those that wait for a restart.
func Reloadable(before, after *Runtime) (changed, refused []string) {
	lines := table(after)
	for i, l := range table(before) {
		if l.status != provided || same(l.to, lines[i].to) {
			continue
		}
		if l.loads {
			changed = append(changed, l.name)
		} else {
			refused = append(refused, l.name)
		}
	}
	return changed, refused
}

// same compares what two pointers point at; an empty list or map is the same as none.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	switch x.Kind() {
	case reflect.Slice, reflect.Map:
		if x.Len() == 0 && y.Len() == 0 {
			return true
		}
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}
