package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fault is one thing done wrong on purpose.
type fault struct {
	name   string
	breaks string // what goes wrong, in words for the table
	edits  []edit
}

// edit puts other text in the place of what stands in a file exactly once.
type edit struct{ file, old, new string }

// sources returns the files with the fault in them, by name from the root.
func (f *fault) sources(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range f.edits {
		text, ok := files[e.file]
		if !ok {
			content, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, fmt.Errorf("fault %s: %w", f.name, err)
			}
			text = string(content)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("fault %s no longer fits %s, which has this %d times, not once:\n%s", f.name, e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// plant writes the changed files to dir, and beside them what go's -overlay
// wants.
func (f *fault) plant(root, dir string) error {
	sources, err := f.sources(root)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for file, text := range sources {
		to := filepath.Join(dir, f.name, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return err
		}
		replace[filepath.Join(root, file)] = to
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(overlayOf(f, dir), content, 0o600)
}

func overlayOf(f *fault, dir string) string { return filepath.Join(dir, f.name+".json") }

// compile plants a fault and has the compiler look at the server with it.
func (f *fault) compile(ctx context.Context, root, dir string) error {
	if err := f.plant(root, dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay="+overlayOf(f, dir), "-o", os.DevNull, ".")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fault %s does not compile: %w\n%s", f.name, err, out)
	}
	return nil
}
