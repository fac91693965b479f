package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"praetor/structs"
)

// directory is a target that is a directory, which may be one of a network file
// system. Something is written under a name that List leaves out, and renamed
// once it is on disk.
type directory struct{ root string }

// partial starts the name of a file that is being written.
const partial = ".partial-"

func openDirectory(root string) (Target, error) {
	if root == "" {
		return nil, structs.Errorf(structs.Invalid, "the backup target is empty")
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("backup target %s: %w", root, err)
	}
	return directory{absolute}, nil
}

// Put writes a file.
func (d directory) Put(ctx context.Context, name string, r io.Reader) (err error) {
	full, err := d.path(name)
	if err != nil {
		return err
	}
	dir := filepath.Dir(full)
	if err := makeDir(dir); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, partial)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if _, err := io.Copy(file, reader{ctx, r}); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), full); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// makeDir makes a directory, and those above it, so that a crash does not take
// them away again with what is in them.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	syncDir(filepath.Dir(dir))
	return nil
}

func syncDir(dir string) {
	if file, err := os.Open(dir); err == nil {
		_ = file.Sync() // not every file system can
		file.Close()
	}
}

// sweep removes files whose writing was begun before a time and never ended.
func (d directory) sweep(ctx context.Context, before time.Time) error {
	root := os.DirFS(d.root)
	names, err := fs.Glob(root, "*/"+partial+"*")
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := fs.Stat(root, name)
		if err != nil || !info.ModTime().Before(before) {
			continue // one that is gone needs no sweeping
		}
		if err := cmp.Or(context.Cause(ctx), d.Delete(ctx, name)); err != nil {
			return err
		}
	}
	return nil
}

// Get opens a file.
func (d directory) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	full, err := d.path(name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, structs.Errorf(structs.NotFound, "there is no %s in %s", name, d.root)
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{reader{ctx, file}, file}, nil
}

// List walks the directory.
func (d directory) List(ctx context.Context, prefix string) ([]Object, error) {
	var objects []Object
	start := filepath.Join(d.root, filepath.FromSlash(path.Dir(prefix+"x")))
	err := filepath.WalkDir(start, func(full string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a directory nobody has written to yet, or a file that is gone
		}
		if err != nil {
			return err
		}
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return context.Cause(ctx)
		}
		relative, err := filepath.Rel(d.root, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if !strings.HasPrefix(name, prefix) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		objects = append(objects, Object{name, info.Size(), info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	inOrder(objects)
	return objects, nil
}

// Delete removes a file.
func (d directory) Delete(_ context.Context, name string) error {
	full, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// path is where a name lies. A name never leads out of the directory.
func (d directory) path(name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || name == "." {
		return "", structs.Errorf(structs.Invalid, "%q is not the name of a backup", name)
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}
