package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// keys finds the lines of one table, bound to one Runtime.
type keys struct {
	lines    []line
	byName   map[string]line
	likes    []line          // the lines whose name ends in *, without it
	blocks   map[string]bool // names that only hold other keys: "ports", "tls.https"
	isSet    map[string]bool // provided keys that some source has given
	warnings []string        // each once
}

func newKeys(r *Runtime) *keys {
	k := &keys{lines: table(r), byName: map[string]line{}, blocks: map[string]bool{}, isSet: map[string]bool{}}
	for _, l := range k.lines {
		names := []string{l.name}
		if l.subs != nil {
			names = nil
			for _, sub := range l.subs {
				names = append(names, l.name+"."+sub)
			}
		}
		for _, name := range names {
			if start, ok := strings.CutSuffix(name, "*"); ok {
				k.likes = append(k.likes, line{name: start, status: l.status, why: l.why})
			} else {
				if _, twice := k.byName[name]; twice {
					panic("config: two lines for " + name)
				}
				k.byName[name] = l
			}
			for i, c := range name {
				if c == '.' {
					k.blocks[name[:i]] = true
				}
			}
		}
	}
	for _, l := range k.lines {
		if _, ok := k.byName[l.use]; !ok && l.status == renamed {
			panic("config: " + l.name + " stands for no key")
		}
	}
	return k
}

func (k *keys) find(name string) (line, bool) {
	l, ok := k.byName[name]
	if ok {
		return l, true
	}
	i := slices.IndexFunc(k.likes, func(l line) bool { return strings.HasPrefix(name, l.name) })
	if i < 0 {
		return line{}, false
	}
	l = k.likes[i]
	l.name = name
	return l, true
}

// setting is a value for one key, and who says so.
type setting struct {
	key   string
	value any
	file  string
	flag  string // with its dash; then file is empty
}

// apply gives one value to its key: stores it, or warns, or refuses it.
func (k *keys) apply(s setting) error {
	l, ok := k.find(s.key)
	switch {
	case !ok:
		return k.unknown(s)
	case s.value == nil: // null in JSON: as if the key were not there
		return nil
	}
	asked := cmp.Or(s.flag, l.name)
	if l.status == renamed {
		quiet := l.quiet
		l, _ = k.find(l.use)
		if l.status == provided && !quiet {
			k.warn("%s is deprecated: use %s", asked, l.nameFor(s))
		}
	}
	switch l.status {
	case inert:
		if l.same == nil && !asksNothing(s.value) || l.same != nil && fmt.Sprint(l.same) != fmt.Sprint(s.value) {
			k.warn("%s is accepted and ignored: %s", asked, l.why)
		}
	case impossible:
		if !asksNothing(s.value) {
			return fmt.Errorf("%s%s: %s", s.key, s.where(), l.why)
		}
	case provided:
		if err := l.set(s.value); err != nil {
			return fmt.Errorf("%s%s: %w", label(l.name), s.where(), err)
		}
		k.isSet[l.name] = true
	}
	return nil
}

// where is the file of a setting, for a message; a flag is named beside the key anyway.
func (s setting) where() string {
	if s.file == "" {
		return ""
	}
	return " in " + s.file
}

// nameFor is what to call a key where a setting comes from.
func (l line) nameFor(s setting) string {
	if flag := flagOf(l.name); s.flag != "" && flag != "" {
		return "-" + flag
	}
	return l.name
}

// warn says a sentence once.
func (k *keys) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(k.warnings, w) {
		k.warnings = append(k.warnings, w)
	}
}

// inherit fills what no source has given of a block from another block with the same keys. Empty text is not given;
// false is.
func (k *keys) inherit(block, from string) {
	for _, l := range k.lines {
		rest, ok := strings.CutPrefix(l.name, from+".")
		if !ok {
			continue
		}
		name := block + "." + rest
		field := reflect.ValueOf(k.byName[name].to).Elem()
		if field.IsZero() && (field.Kind() != reflect.Bool || !k.isSet[name]) {
			field.Set(reflect.ValueOf(l.to).Elem())
		}
	}
}
