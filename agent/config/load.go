package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Load merges defaults, flags and files, and checks the result. The warnings are sentences for the log; the error holds
// every reason why this configuration cannot start. Load again to reload: flags keep what they were given.
func Load(f *Flags) (*Runtime, []string, error) {
	return load(f, true)
}

// LoadFiles checks files and directories without flags, as "praetor validate" does; format is as in Flags. That server
// mode is off is a warning here, since -server may turn it on.
func LoadFiles(paths []string, format string) (*Runtime, []string, error) {
	return load(&Flags{Files: paths, Format: format}, false)
}

// LoadBackup reads the backup block of files and directories, for tools that need not be on a server's machine: whether
// the rest could run here does not matter.
func LoadBackup(paths []string) (Backup, error) {
	r := defaults()
	k := newKeys(r)
	files, err := k.readFiles(&Flags{Files: paths})
	if err == nil {
		err = k.merge(files)
	}
	return r.Backup, err
}

func load(f *Flags, starting bool) (*Runtime, []string, error) {
	r := defaults()
	if f.Dev {
		r.makeDev()
	}
	k := newKeys(r)
	files, err := k.readFiles(f)
	errs := []error{err}
	for _, list := range []bool{true, false} {
		for _, s := range f.settings {
			if s.lists(k) == list {
				errs = append(errs, k.apply(s))
			}
		}
		if list {
			errs = append(errs, k.merge(files))
		}
	}
	for _, fragment := range f.HCL {
		file, err := Parse("-hcl", []byte(fragment), "hcl")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, k.merge([]*File{file}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, k.warnings, err // checking half a configuration would blame what is not there
	}

	if f.RestoreFrom != "" { // this server founds the cluster by itself, whatever its files say for other days
		r.Bootstrap, r.BootstrapExpect = true, 0
	}
	c := &checker{r: r, keys: k, starting: starting}
	c.finish(f.Host)
	c.validate()
	if err := errors.Join(c.errs...); err != nil {
		return nil, k.warnings, err
	}
	return r, k.warnings, nil
}

func (k *keys) merge(files []*File) error {
	var errs []error
	for _, file := range files {
		for _, s := range file.settings {
			errs = append(errs, k.apply(s))
		}
	}
	return errors.Join(errs...)
}

// readFiles parses the files and directories of f in order, a directory in name order and without its subdirectories.
func (k *keys) readFiles(f *Flags) ([]*File, error) {
	var files []*File
	var errs []error
	for _, path := range f.Files {
		info, err := os.Stat(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("configuration: %w", err))
			continue
		}
		paths := []string{path}
		if info.IsDir() {
			paths, err = filesIn(path)
			errs = append(errs, err)
		}
		for _, path := range paths {
			format := f.Format
			if format == "" {
				format = strings.TrimPrefix(filepath.Ext(path), ".")
				if format != "hcl" && format != "json" {
					k.warn("%s is skipped: its name must end in .hcl or .json, unless -config-format is set", path)
					continue
				}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				errs = append(errs, fmt.Errorf("configuration: %w", err))
				continue
			}
			file, err := Parse(path, data, format)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			files = append(files, file)
		}
	}
	return files, errors.Join(errs...)
}

func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		paths = append(paths, path)
	}
	return paths, nil
}
