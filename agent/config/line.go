package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// line is one key of the table: its dotted name, and what becomes of a value given to it.
type line struct {
	name string
	subs []string // if any, the line stands for name.sub of each, and warns once as name

	// A key that is provided:
	to    any             // pointer to its field, for telling the kind, copying and comparing
	set   func(any) error // checks a value and stores it in the field
	adds  bool            // values of several sources add up to one list
	loads bool            // a running server takes a new value

	// A key that is not:
	status status
	why    string // reason, for the sentence about it
	use    string // the key to use in its place
	quiet  bool   // both names are as good
	same   any    // the value that changes nothing here
}

type status int

const (
	provided   status = iota
	renamed           // an old name of another key
	inert             // has no effect: one warning, unless the value asks for nothing anyway
	silent            // has no effect and needs none
	impossible        // asking for it is an error
)

// Bounds of durations that are not a number of their own.
const (
	zero     time.Duration = 0
	positive time.Duration = 1
)

// live marks a key that a running server can take a new value for.
func (l line) live() line {
	l.loads = true
	return l
}

// store makes a provided line out of how its values are read (as in asText) and where they go.
func store[F, V any](name string, to *F, reads string, as func(any) (V, bool), put func(V) error) line {
	return line{name: name, to: to, set: func(v any) error {
		got, ok := as(v)
		if !ok {
			return fmt.Errorf("expected %s, got %s", reads, show(v))
		}
		return put(got)
	}}
}

// text is a key with any text as its value.
func text(name string, to *string) line {
	return store(name, to, "text", asText, func(s string) error { *to = s; return nil })
}

// words is text that holds several words. A template may have spaces of its own, so finish expands and splits it.
func words(name string, to *[]string) line {
	return store(name, to, "text", asText, func(s string) error { *to = []string{s}; return nil })
}

// commas is text that holds several words with commas between them.
func commas(name string, to *[]string) line {
	return store(name, to, "text with commas", asText, func(s string) error {
		*to = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
}

// choice is one of a few words; case does not matter, and the field gets the word as spelled here.
// Empty text changes nothing, as tools write it for "not set".
func choice(name string, to *string, options ...string) line {
	return store(name, to, "text", asText, func(s string) error {
		i := slices.IndexFunc(options, func(o string) bool { return strings.EqualFold(o, s) })
		switch {
		case s == "":
		case i < 0:
			return fmt.Errorf("must be one of %s, got %q", strings.Join(options, ", "), s)
		default:
			*to = options[i]
		}
		return nil
	})
}

// toggle is true or false.
func toggle(name string, to *bool) line {
	return store(name, to, "true or false", asBool, func(b bool) error { *to = b; return nil })
}

// number is a whole number within bounds.
func number(name string, to *int, low, high int) line {
	return store(name, to, "a whole number", asInt, func(n int) error {
		if n < low || n > high {
			return fmt.Errorf("must be %d to %d, got %d", low, high, n)
		}
		*to = n
		return nil
	})
}

// port is a TCP port; low is 1, or -1 for a port that can be turned off.
func port(name string, to *int, low int) line {
	return store(name, to, "a port number", asInt, func(n int) error {
		switch {
		case n >= 1 && n <= 65535, n == low:
			*to = n
			return nil
		case low < 0:
			return fmt.Errorf("must be 1 to 65535, or -1 for none, got %d", n)
		}
		return fmt.Errorf("must be 1 to 65535, got %d", n)
	})
}

// duration is text such as "30s", of at least low.
func duration(name string, to *time.Duration, low time.Duration) line {
	return store(name, to, `a duration such as "30s"`, asDuration, func(d time.Duration) error {
		switch {
		case d >= low:
			*to = d
			return nil
		case low == positive:
			return fmt.Errorf("must be positive, got %v", d)
		case low == zero:
			return fmt.Errorf("must not be negative, got %v", d)
		}
		return fmt.Errorf("must be at least %v, got %v", low, d)
	})
}

// list is a list of texts; values of several sources add up.
func list(name string, to *[]string) line {
	l := store(name, to, "a list of quoted texts", asList, func(v []string) error { *to = append(*to, v...); return nil })
	l.adds = true
	return l
}

// pairs is a block of text by name; values of several sources are merged.
func pairs(name string, to *map[string]string) line {
	return store(name, to, "a block of quoted texts", asPairs, func(v map[string]string) error {
		if *to == nil {
			*to = map[string]string{}
		}
		maps.Copy(*to, v)
		return nil
	})
}

// deprecated is an old name of another key.
func deprecated(name, use string) line { return line{name: name, status: renamed, use: use} }

// alias is another name of a key.
func alias(name, use string) line { return line{name: name, status: renamed, use: use, quiet: true} }

// ignored is a key that has no effect, whatever it holds; a name may end in * to stand for all that start alike.
func ignored(name, why string, subs ...string) line {
	return line{name: name, status: inert, why: why, subs: subs}
}

// fixed is a key that Praetor has no choice about: only another value than this one gives a warning.
func fixed(name string, value any, why string) line {
	return line{name: name, status: inert, same: value, why: why}
}

// moot is a key for which no value makes a difference that anybody could miss.
func moot(name string) line { return line{name: name, status: silent} }

// refused is a key that must be off, because ignoring it would be dangerous.
func refused(name, why string) line { return line{name: name, status: impossible, why: why} }
