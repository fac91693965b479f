package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"
)

// verb is one command that does something: a cli.Command that its constructor
// fills in.
type verb struct {
	*shell
	entry
	help
	operands []string      // names as in the usage line: KEY, [VALUE], PATH...
	runs     bool          // the last operand is a command line, whose own flags are none of ours
	flags    *flag.FlagSet // the verb's own
	set      *flag.FlagSet // all flags, once parsed
	complete complete.Predictor
	run      func(operands []string) error

	connection *connection         // nil if it needs no server
	format     *string             // -format, if the verb has it
	choices    map[string][]string // values of flags, for completion
}

// help is what stands between usage and flags: sentences, then command lines
// without the leading "praetor".
type help struct {
	text     string
	examples []string
}

func (h help) String() string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(h.text)) {
		if line = strings.TrimSpace(line); line != "" {
			line = "  " + line
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("\nExamples:\n\n")
	for _, e := range h.examples {
		b.WriteString("    $ praetor " + e + "\n")
	}
	return b.String()
}

func offline(fill func(*verb)) func(*shell, entry) cli.Command {
	return func(s *shell, e entry) cli.Command {
		v := &verb{shell: s, entry: e, flags: flag.NewFlagSet(e.name, flag.ContinueOnError)}
		fill(v)
		return v
	}
}

func online(fill func(*verb)) func(*shell, entry) cli.Command {
	return offline(func(v *verb) {
		v.connection = &connection{}
		fill(v)
	})
}

// formats adds -format; verbs ask v.json.
func (v *verb) formats() {
	v.format = v.flags.String("format", "pretty", "In this `form`: for people (pretty) or for programs (json).")
}

func (v *verb) json() bool { return v.format != nil && *v.format == "json" }

// failure is an error whose text is printed as it is. Of any other error the
// text says what was being done: "Error " goes before it.
type failure string

func (f failure) Error() string { return string(f) }

func failf(format string, args ...any) error { return failure(fmt.Sprintf(format, args...)) }

// misuse is a failure that is explained by the usage line.
type misuse string

func (m misuse) Error() string { return "Error! " + string(m) }

func misusef(format string, args ...any) error { return misuse(fmt.Sprintf(format, args...)) }

// refuseEmpty refuses flags that were given without a value, as by a variable of a
// script that is not set: they choose what is replaced, and leaving them out chooses
// more.
func (v *verb) refuseEmpty(names ...string) (err error) {
	v.set.Visit(func(f *flag.Flag) {
		if err == nil && f.Value.String() == "" && slices.Contains(names, f.Name) {
			err = misusef("-%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// exit is an error that has been told already, or needs no telling.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run parses args, does what the verb does and returns the exit code.
func (v *verb) Run(args []string) int {
	operands, err := v.parse(args)
	if err == nil {
		err = v.run(operands)
	}
	var (
		code exit
		fail failure
		use  misuse
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &use):
		fmt.Fprintf(v.stderr, "%v\n\n%s\n\"praetor %s -help\" explains more.\n", use, v.usage(), v.name)
	case v.connection != nil && unreachable(err):
		fmt.Fprintln(v.stderr, v.connection.explain(err))
	case errors.As(err, &fail):
		fmt.Fprintln(v.stderr, fail)
	default:
		fmt.Fprintf(v.stderr, "Error %v\n", err)
	}
	return 1
}

func (v *verb) parse(args []string) ([]string, error) {
	all := v.allFlags()
	v.set = all
	if err := all.Parse(args); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			return nil, misusef("There is no flag -%s.%s", name, didYouMean("-", name, names(all)))
		}
		return nil, misusef("%v", err)
	}
	rest := all.Args()
	literal := len(args) > len(rest) && args[len(args)-len(rest)-1] == "--"
	operands, err := v.literals(rest, literal)
	if err != nil {
		return nil, err
	}
	if v.format != nil && *v.format != "pretty" && *v.format != "json" {
		return nil, failf("Unknown format: %s", *v.format)
	}
	return operands, v.count(operands)
}

// flagLike is a flag, as far as one can tell from its looks: -5 is none, and
// neither is "-- a sentence".
var flagLike = regexp.MustCompile(`^--?[A-Za-z][\w-]*(=|$)`)

// literals are the operands. The flag package stops at the first of them, so
// that a flag further on would silently become an operand (kv put k -cas): that
// is an error here. After -- anything goes.
func (v *verb) literals(args []string, literal bool) ([]string, error) {
	var operands []string
	for i, a := range args {
		if !literal && a == "--" {
			return append(operands, args[i+1:]...), nil
		}
		if v.runs && i >= len(v.operands) {
			return append(operands, args[i:]...), nil
		}
		if !literal && flagLike.MatchString(a) {
			return nil, misusef("The flag %s comes too late: flags go before the first operand (%q). If it is meant as an operand, put -- before it.",
				a, args[0])
		}
		operands = append(operands, a)
	}
	return operands, nil
}

func (v *verb) count(operands []string) error {
	need, limit := 0, len(v.operands)
	for _, o := range v.operands {
		if !strings.HasPrefix(o, "[") {
			need++
		}
		if strings.Contains(o, "...") {
			limit = max(limit, len(operands))
		}
	}
	switch n := len(operands); {
	case n < need:
		return misusef("Missing %s argument", strings.TrimSuffix(v.operands[n], "..."))
	case n > limit:
		return misusef("Too many arguments (expected %d, got %d)", limit, n)
	}
	return nil
}

// allFlags are the verb's own flags and those of the connection.
func (v *verb) allFlags() *flag.FlagSet {
	all := flag.NewFlagSet(v.name, flag.ContinueOnError)
	all.SetOutput(io.Discard)
	all.Usage = func() {}
	v.flags.VisitAll(func(f *flag.Flag) { all.Var(f.Value, f.Name, f.Usage) })
	if v.connection != nil {
		v.connection.define(all)
	}
	return all
}

func (v *verb) usage() string {
	words := append([]string{"Usage: praetor", v.name}, v.operands...)
	if len(names(v.allFlags())) > 0 {
		words = slices.Insert(words, 2, "[flags]")
	}
	return strings.Join(words, " ")
}

// Synopsis is the line in the list of commands.
func (v *verb) Synopsis() string { return v.synopsis }

// Help is what -help prints.
func (v *verb) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s", v.usage(), v.help)
	section := func(title string, fs *flag.FlagSet) {
		if len(names(fs)) > 0 {
			b.WriteString("\n" + title + ":\n\n")
			fs.SetOutput(&b)
			fs.PrintDefaults()
		}
	}
	section("Flags", v.flags)
	if v.connection != nil {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		new(connection).define(fs)
		section("Flags for reaching the server", fs)
	}
	return strings.TrimRight(b.String(), "\n")
}

// AutocompleteArgs predicts operands.
func (v *verb) AutocompleteArgs() complete.Predictor { return v.complete }

// AutocompleteFlags predicts flags and their values.
func (v *verb) AutocompleteFlags() complete.Flags {
	flags := complete.Flags{}
	v.allFlags().VisitAll(func(f *flag.Flag) {
		b, isBool := f.Value.(interface{ IsBoolFlag() bool })
		switch {
		case isBool && b.IsBoolFlag():
			flags["-"+f.Name] = complete.PredictNothing
		case v.choices[f.Name] != nil:
			flags["-"+f.Name] = complete.PredictSet(v.choices[f.Name]...)
		case f.Name == "format":
			flags["-"+f.Name] = complete.PredictSet("pretty", "json")
		case strings.HasSuffix(f.Name, "-file"), strings.HasSuffix(f.Name, "-cert"), strings.HasSuffix(f.Name, "-key"):
			flags["-"+f.Name] = complete.PredictFiles("*")
		case strings.HasSuffix(f.Name, "-path"):
			flags["-"+f.Name] = complete.PredictDirs("*")
		default:
			flags["-"+f.Name] = complete.PredictAnything
		}
	})
	return flags
}

func names(fs *flag.FlagSet) []string {
	var all []string
	fs.VisitAll(func(f *flag.Flag) { all = append(all, f.Name) })
	return all
}
