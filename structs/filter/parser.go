package filter

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// parser reads what joins matches, once from left to right:
//
//	or    = and  { "or" and }
//	and   = not  { "and" not }
//	not   = "not" not | "(" or ")" | match
type parser struct {
	text string
	at   int
	row  reflect.Type
}

func (p *parser) where() string { return fmt.Sprintf("byte %d", p.at+1) }

func (p *parser) or(depth int) (condition, error) {
	return p.joined("or", depth, p.and, func(a, b condition) condition {
		return func(row reflect.Value) bool { return a(row) || b(row) }
	})
}

func (p *parser) and(depth int) (condition, error) {
	return p.joined("and", depth, p.not, func(a, b condition) condition {
		return func(row reflect.Value) bool { return a(row) && b(row) }
	})
}

// joined reads one or more parts with a word between them.
func (p *parser) joined(word string, depth int, part func(int) (condition, error), join func(a, b condition) condition) (condition, error) {
	left, err := part(depth)
	for err == nil && p.skipWord(word) {
		var right condition
		if right, err = part(depth); err == nil {
			left = join(left, right)
		}
	}
	return left, err
}

func (p *parser) not(depth int) (condition, error) {
	if depth > MaxDepth {
		return nil, invalid("%s: more than %d brackets and nots in one another (the limit of a filter's depth)", p.where(), MaxDepth)
	}
	if p.skipWord("not") {
		inner, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(row reflect.Value) bool { return !inner(row) }, nil
	}
	p.skipSpace()
	if p.at == len(p.text) || p.text[p.at] != '(' {
		return p.match()
	}
	p.at++
	inner, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); p.at == len(p.text) || p.text[p.at] != ')' {
		return nil, invalid("%s: Unmatched parentheses", p.where())
	}
	p.at++
	p.skipSpace()
	return inner, nil
}

const space = " \t\r\n"

func (p *parser) skipSpace() {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], space))
}

// skipWord skips a word, if it comes next.
func (p *parser) skipWord(word string) bool {
	p.skipSpace()
	if nextWord(p.text[p.at:]) != word {
		return false
	}
	p.at += len(word)
	return true
}

// nextWord is what text begins with, up to a space or a bracket.
func nextWord(text string) string {
	if end := strings.IndexAny(text, space+"()"); end >= 0 {
		return text[:end]
	}
	return text
}

// match reads one match: all up to a bracket, or to a word that joins it to the
// next. Behind an operator such a word is a value.
func (p *parser) match() (condition, error) {
	start := p.at
	var match strings.Builder
	last := "" // word before
scan:
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"' || c == '`':
			if err := p.quoted(&match, c); err != nil {
				return nil, err
			}
			last = ""
		case c == '(' || c == ')':
			break scan
		case strings.IndexByte(space, c) >= 0:
			match.WriteByte(c)
			p.at++
		default:
			word := nextWord(p.text[p.at:])
			if (word == "and" || word == "or") && p.at > start && !operators[last] {
				break scan
			}
			if quote := strings.IndexAny(word, "\"`"); quote >= 0 {
				word = word[:quote]
			}
			match.WriteString(word)
			p.at += len(word)
			last = word
			if i := strings.LastIndexAny(word, "="); i >= 0 && i == len(word)-1 {
				last = "=="
			}
		}
	}
	tree, err := grammar.Parse("", []byte(match.String()), grammar.MaxExpressions(maxSteps))
	if err != nil {
		return nil, invalid("byte %d: %v", start+1, err)
	}
	expression, ok := tree.(*grammar.MatchExpression)
	if !ok {
		return nil, invalid("byte %d: %q is not a match, such as Node == a", start+1, strings.TrimSpace(match.String()))
	}
	return compileMatch(expression, p.row)
}

// operators want a value behind them.
var operators = map[string]bool{"==": true, "!=": true, "in": true, "contains": true, "matches": true}

// maxSteps bounds the work of reading one match; it is far more than the longest takes.
const maxSteps = 1 << 20

// quoted copies a text in quotes. One that begins with a slash would be taken
// for a path by the library, unless it stands in backquotes.
func (p *parser) quoted(to *strings.Builder, quote byte) error {
	end := strings.IndexByte(p.text[p.at+1:], quote)
	if end < 0 {
		return invalid("%s: Unterminated string literal", p.where())
	}
	inside := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	if quote == '"' && (inside == "" || inside[0] == '/') && !strings.ContainsAny(inside, "`\\") {
		quote = '`'
	}
	to.WriteByte(quote)
	to.WriteString(inside)
	to.WriteByte(quote)
	return nil
}
