package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"praetor/structs"
)

// partSize is how much of an upload is held in memory. S3 takes ten thousand
// parts, so a backup may have up to 160 GB.
const partSize = 16 << 20

// smallSize is what goes up in one request, since its length is known.
const smallSize = 256 << 10

// bucket is a target in S3-compatible storage. Such storage shows an object only
// once all of it has arrived.
type bucket struct {
	client       minio.Core
	name, prefix string
}

// openS3 finds out how to reach a bucket; it asks nothing of it yet.
func openS3(u *url.URL, o Options) (Target, error) {
	if u.Host == "" {
		return nil, structs.Errorf(structs.Invalid, "backup target %s names no bucket: s3://bucket/prefix", u.Redacted())
	}
	if u.User != nil {
		return nil, structs.Errorf(structs.Invalid, "backup target %s: the access key does not go into the URL, see backup.credentials_file", u.Redacted())
	}
	query := u.Query()
	for key := range query {
		if key != "endpoint" && key != "region" {
			return nil, structs.Errorf(structs.Invalid, "backup target %s: only endpoint and region can be given, not %q", u.Redacted(), key)
		}
	}
	endpoint := firstOf(query.Get("endpoint"), o.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "s3.amazonaws.com")
	secure := true
	if scheme, host, ok := strings.Cut(endpoint, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return nil, structs.Errorf(structs.Invalid, "backup endpoint %q: give host:port, http://host:port or https://host:port", endpoint)
		}
		endpoint, secure = strings.TrimSuffix(host, "/"), scheme == "https"
	}
	keys := []credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}}
	if o.CredentialsFile != "" {
		keys = []credentials.Provider{&credentials.FileAWSCredentials{Filename: o.CredentialsFile}}
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:      credentials.NewChainCredentials(keys),
		Secure:     secure,
		Region:     firstOf(query.Get("region"), o.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		Transport:  o.Transport,
		MaxRetries: 3, // a schedule comes round again anyway
	})
	if err != nil {
		return nil, structs.Errorf(structs.Invalid, "backup endpoint %q: %v", endpoint, err)
	}
	return &bucket{minio.Core{Client: client}, u.Host, strings.Trim(u.Path, "/")}, nil
}

// Put uploads an object, in parts if it is large.
func (b *bucket) Put(ctx context.Context, name string, r io.Reader) error {
	key, options := b.key(name), minio.PutObjectOptions{ContentType: "application/octet-stream"}
	r = reader{ctx, r}
	start, err := io.ReadAll(io.LimitReader(r, smallSize))
	if err != nil {
		return err
	}
	if len(start) < smallSize {
		if _, err := b.client.Client.PutObject(ctx, b.name, key, bytes.NewReader(start), int64(len(start)), options); err != nil {
			return b.explain("write", name, err)
		}
		return nil
	}
	options.PartSize = partSize
	if _, err = b.client.Client.PutObject(ctx, b.name, key, io.MultiReader(bytes.NewReader(start), r), -1, options); err == nil {
		return nil
	}
	// Parts without an end are invisible, but they cost. The context may have ended by now.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = b.client.RemoveIncompleteUpload(clean, b.name, key)
	return b.explain("write", name, err)
}

// Get downloads an object.
func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	body, _, _, err := b.client.GetObject(ctx, b.name, b.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.explain("read", name, err)
	}
	return body, nil
}

// List asks for names until it has them all.
func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	ctx, cancel := context.WithCancel(ctx) // else the listing goes on after an error
	defer cancel()
	var objects []Object
	for o := range b.client.Client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return nil, b.explain("list", prefix, o.Err)
		}
		name := o.Key
		if b.prefix != "" {
			name = strings.TrimPrefix(name, b.prefix+"/")
		}
		objects = append(objects, Object{name, o.Size, o.LastModified})
	}
	if err := context.Cause(ctx); err != nil { // a listing that was cut short looks like one that ended
		return nil, err
	}
	inOrder(objects)
	return objects, nil
}

// Delete removes an object.
func (b *bucket) Delete(ctx context.Context, name string) error {
	err := b.client.RemoveObject(ctx, b.name, b.key(name), minio.RemoveObjectOptions{})
	if err == nil || minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil
	}
	return b.explain("delete", name, err)
}

// sweep ends uploads that were begun before a time and never ended.
func (b *bucket) sweep(ctx context.Context, before time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range b.client.ListIncompleteUploads(ctx, b.name, b.key(""), true) {
		if u.Err != nil {
			return b.explain("list the uploads of", b.key(""), u.Err)
		}
		if !u.Initiated.Before(before) {
			continue
		}
		if err := b.client.AbortMultipartUpload(ctx, b.name, u.Key, u.UploadID); err != nil {
			return b.explain("end the upload of", u.Key, err)
		}
	}
	return context.Cause(ctx)
}

func (b *bucket) key(name string) string {
	if b.prefix == "" {
		return name
	}
	if name == "" {
		return b.prefix + "/"
	}
	key := path.Join(b.prefix, name)
	if strings.HasSuffix(name, "/") {
		key += "/"
	}
	return key
}

// explain says what an operator can do about the storage's answer.
func (b *bucket) explain(verb, name string, err error) error {
	switch r := minio.ToErrorResponse(err); r.Code {
	case minio.NoSuchKey:
		return structs.Errorf(structs.NotFound, "there is no %s in bucket %s", name, b.name)
	case minio.NoSuchBucket:
		return structs.Errorf(structs.Invalid, "there is no bucket %s at %s: create it first", b.name, b.client.EndpointURL())
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return structs.Errorf(structs.Invalid, "bucket %s at %s refuses the access key (%s): see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and backup.credentials_file",
			b.name, b.client.EndpointURL(), r.Code)
	}
	return fmt.Errorf("%s %s in bucket %s: %w", verb, name, b.name, err)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func inOrder(objects []Object) {
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
}
