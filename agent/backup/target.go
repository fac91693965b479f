package backup

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"praetor/structs"
)

// Object is one thing that lies at a target.
type Object struct {
	Name string
	Size int64 // bytes, as stored
	Time time.Time
}

// Target is a place outside of the cluster. Names are paths with slashes.
type Target interface {
	Put(ctx context.Context, name string, r io.Reader) error     // all or nothing: a name is there whole or not at all
	Get(ctx context.Context, name string) (io.ReadCloser, error) // structs.NotFound
	List(ctx context.Context, prefix string) ([]Object, error)   // in order of name
	Delete(ctx context.Context, name string) error               // fine if it is not there
}

// sweeper is a target where writing that breaks off, as when a server is killed,
// leaves something that takes up space and that List does not show.
type sweeper interface {
	sweep(ctx context.Context, before time.Time) error // deletes what was begun before
}

// Options say how a target is reached and how what lies there is sealed.
type Options struct {
	Endpoint        string // S3: host:port or URL; what the target's own URL says wins
	Region          string // S3
	CredentialsFile string // S3: in the format of ~/.aws/credentials; "" looks there, after the environment
	Transport       http.RoundTripper

	Recipients     []string // age public keys to seal for
	IdentityFile   string   // age private keys to open with; without recipients also to seal for
	PassphraseFile string   // seals and opens; excludes the other two
}

// Open returns the target that a URL names: a path, "file:///path" or
// "s3://bucket/prefix?endpoint=...&region=...". What is sealed there is opened
// on the way, so that callers never see it. Nothing is asked of the target yet.
func Open(target string, o Options) (Target, error) {
	inner, err := openPlain(target, o)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(o)
	if err != nil {
		return nil, err
	}
	return &sealed{inner, keys}, nil
}

func openPlain(target string, o Options) (Target, error) {
	scheme, _, ok := strings.Cut(target, "://")
	if !ok {
		return openDirectory(target)
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, structs.Errorf(structs.Invalid, "the backup target that begins with %s:// is not a URL", scheme) // there may be a secret in it
	}
	switch scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, structs.Errorf(structs.Invalid, "backup target %q names a host: write file:///path, with three slashes", target)
		}
		return openDirectory(filepath.FromSlash(u.Path))
	case "s3":
		return openS3(u, o)
	}
	return nil, structs.Errorf(structs.Invalid, `backup target %q: a target is a path, "file:///path" or "s3://bucket/prefix?endpoint=..."`, target)
}

// readAll is the whole of something small.
func readAll(ctx context.Context, t Target, name string, limit int64) ([]byte, error) {
	r, err := t.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, limit))
}

// reader gives up with its context, so that whoever copies from it stops too.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads.
func (r reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
