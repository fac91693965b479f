package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
)

// Bounds of a file. The HCL parser recurses by bracket, and a Go stack that overflows cannot be recovered from.
const (
	maxFileSize  = 4 << 20
	maxBrackets  = 10_000
	maxHCLLabels = 16                    // names before one {
	fileEnd      = "praetor_end_of_file" // added to HCL; see decodeHCL
	maxErrors    = 20                    // more would only scroll the first ones away
)

// File is one source in HCL or JSON: known keys with values of the right type, not yet merged with other sources.
type File struct {
	// Warnings are about keys that are deprecated or have no effect.
	Warnings []string

	settings []setting
}

// Parse reads one source, with format "hcl" or "json"; the name is for messages. Its error holds everything that is
// wrong with the keys. It never panics, whatever data holds.
func Parse(name string, data []byte, format string) (*File, error) {
	tree, err := decode(data, format)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	p := parsing{name: name, keys: newKeys(defaults())}
	p.block("", tree)
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return &File{Warnings: p.keys.warnings, settings: p.settings}, nil
}

// parsing is a file on its way from a tree to settings. Each is tried on a Runtime that is thrown away.
type parsing struct {
	name     string
	keys     *keys
	settings []setting
	errs     []error
}

// block takes the members of a block whose dotted name, with a last dot, is the prefix.
func (p *parsing) block(prefix string, members map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(members)) {
		if len(p.errs) < maxErrors {
			p.member(prefix+key, members[key])
		}
	}
}

func (p *parsing) member(name string, v any) {
	if p.keys.blocks[name] {
		blocks, ok := asBlocks(v)
		if !ok {
			p.errs = append(p.errs, fmt.Errorf("%s in %s: expected a block, got %s", name, p.name, show(v)))
		}
		for _, members := range blocks {
			p.block(name+".", members)
		}
		return
	}
	s := setting{key: name, value: v, file: p.name}
	if err := p.keys.apply(s); err != nil {
		p.errs = append(p.errs, err)
		return
	}
	p.settings = append(p.settings, s)
}

// decode reads bytes into maps, lists, text, bools and numbers (int64, float64 or json.Number).
func decode(data []byte, format string) (tree map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil { // the HCL scanner panics on some bad input
			err = fmt.Errorf("not HCL: %v", p)
		}
	}()
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("larger than %d bytes", maxFileSize)
	}
	switch {
	case format != "hcl" && format != "json":
		return nil, fmt.Errorf("unknown format %q: use hcl or json", format)
	case len(bytes.TrimSpace(data)) == 0: // as good as no file, in both
		return map[string]any{}, nil
	case format == "json" || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return decodeJSON(data)
	}
	return decodeHCL(data)
}

func decodeJSON(data []byte) (map[string]any, error) {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("not JSON: something follows the closing brace")
	}
	return tree, nil
}

func decodeHCL(data []byte) (map[string]any, error) {
	if n := bytes.Count(data, []byte("{")) + bytes.Count(data, []byte("[")); n > maxBrackets {
		return nil, fmt.Errorf("more than %d opening brackets", maxBrackets)
	}
	// The parser drops a key that the file breaks off after ("server ="), so no file ends with what may be unfinished.
	file, err := parser.Parse(slices.Concat(data, []byte("\n"+fileEnd+" = true\n")))
	if err != nil {
		return nil, fmt.Errorf("not HCL: %w", err)
	}
	v, err := fromAST(file.Node)
	if err != nil {
		return nil, fmt.Errorf("not HCL: %w", err)
	}
	tree := v.(map[string]any)
	if tree[fileEnd] != true {
		return nil, errors.New("not HCL: it breaks off")
	}
	delete(tree, fileEnd)
	return tree, nil
}

func fromAST(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.LiteralType:
		return n.Token.Value(), nil
	case *ast.ListType:
		items := []any{}
		for _, item := range n.List {
			v, err := fromAST(item)
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		return items, nil
	case *ast.ObjectType:
		return fromAST(n.List)
	case *ast.ObjectList:
		block := map[string]any{}
		for _, item := range n.Items {
			v, err := fromAST(item.Val)
			if err != nil {
				return nil, err
			}
			if len(item.Keys) == 0 || len(item.Keys) > maxHCLLabels {
				return nil, fmt.Errorf("%v: a block needs 1 to %d names", item.Pos(), maxHCLLabels)
			}
			for _, k := range slices.Backward(item.Keys[1:]) {
				v = map[string]any{k.Token.Value().(string): v}
			}
			key := item.Keys[0].Token.Value().(string)
			if _, isBlock := v.(map[string]any); isBlock && slices.Contains(definitionKeys, key) {
				v = []any{v}
			}
			merge(block, key, v)
		}
		return block, nil
	}
	return nil, fmt.Errorf("unexpected %T", node)
}

// merge puts a value into a block: blocks of one name become one, lists add up, anything else is replaced.
func merge(block map[string]any, key string, v any) {
	switch old := block[key].(type) {
	case map[string]any:
		if v, ok := v.(map[string]any); ok {
			for k, item := range v {
				merge(old, k, item)
			}
			return
		}
	case []any:
		if v, ok := v.([]any); ok {
			block[key] = append(old, v...)
			return
		}
	}
	block[key] = v
}
