// Package s3 is a small S3-compatible server for tests. It speaks as much of the protocol as a backup needs: objects whole
// and in parts, listings, and signatures, which it checks.
package s3

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The one access key and region there are.
const (
	AccessKey = "test-access-key"
	SecretKey = "test-secret-key"
	Region    = "us-east-1"
)

// Server is one server with one bucket.
type Server struct {
	Bucket string
	web    *httptest.Server

	mu      sync.Mutex // guards the fields below
	objects map[string]*object
	uploads map[string]*upload
	ids     int
	fault   func(*http.Request) int
}

type object struct {
	data []byte
	time time.Time
}

type upload struct {
	key   string
	parts map[int][]byte
	begun time.Time
}

// New starts a server with an empty bucket, until the test ends.
func New(t testing.TB, bucket string) *Server {
	s := &Server{Bucket: bucket, objects: map[string]*object{}, uploads: map[string]*upload{}}
	s.web = httptest.NewServer(s)
	t.Cleanup(s.web.Close)
	return s
}

// URL is a backup target in the bucket.
func (s *Server) URL(prefix string) string {
	return s.URLOf(s.Bucket, prefix)
}

// URLOf is a backup target in a bucket that need not be there.
func (s *Server) URLOf(bucket, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s", bucket, prefix, url.QueryEscape(s.web.URL), Region)
}

// Fail has requests answered with the status that fault returns, if not 0.
func (s *Server) Fail(fault func(*http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Keys are the names of all objects, in order.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Abandon begins an upload that never ends, as a client does that is killed.
func (s *Server) Abandon(key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	s.uploads[strconv.Itoa(s.ids)] = &upload{key, map[int][]byte{1: []byte("half")}, at}
}

// Unfinished is how many uploads in parts were neither completed nor given up.
func (s *Server) Unfinished() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Change puts something else in the place of an object.
func (s *Server) Change(key string, change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key].data = change(bytes.Clone(s.objects[key].data))
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := payload(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		if status := s.fault(r); status != 0 {
			refuse(w, status, "InternalError", "as the test wants")
			return
		}
	}
	if code := checkSignature(r); code != "" {
		refuse(w, http.StatusForbidden, code, "the signature is not right")
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket != s.Bucket {
		refuse(w, http.StatusNotFound, "NoSuchBucket", "there is no such bucket")
		return
	}
	query := r.URL.Query()
	switch {
	case key == "" && query.Has("location"):
		answer(w, &struct {
			XMLName xml.Name `xml:"LocationConstraint"`
		}{})
	case key == "" && query.Has("uploads"):
		s.listUploads(w, query)
	case key == "":
		s.list(w, query)
	case query.Has("uploads"), query.Has("uploadId"):
		s.multipart(w, r, key, query, body)
	default:
		s.object(w, r, key, body)
	}
}

func (s *Server) object(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	switch r.Method {
	case http.MethodPut:
		s.objects[key] = &object{body, time.Now()}
		w.Header().Set("ETag", etag(body))
	case http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		o := s.objects[key]
		if o == nil {
			refuse(w, http.StatusNotFound, "NoSuchKey", "there is no such object")
			return
		}
		w.Header().Set("ETag", etag(o.data))
		http.ServeContent(w, r, "", o.time, bytes.NewReader(o.data))
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

func (s *Server) multipart(w http.ResponseWriter, r *http.Request, key string, query url.Values, body []byte) {
	id := query.Get("uploadId")
	if r.Method == http.MethodPost && id == "" {
		s.ids++
		id = strconv.Itoa(s.ids)
		s.uploads[id] = &upload{key, map[int][]byte{}, time.Now()}
		answer(w, &struct {
			XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, Key, UploadId string
		}{Bucket: s.Bucket, Key: key, UploadId: id})
		return
	}
	u := s.uploads[id]
	if u == nil || u.key != key {
		refuse(w, http.StatusNotFound, "NoSuchUpload", "there is no such upload")
		return
	}
	switch r.Method {
	case http.MethodPut:
		number, _ := strconv.Atoi(query.Get("partNumber"))
		u.parts[number] = body
		w.Header().Set("ETag", etag(body))
	case http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		s.complete(w, id, u, body)
	}
}

// complete makes an object of the parts that are named, which must have arrived
// as they are named.
func (s *Server) complete(w http.ResponseWriter, id string, u *upload, body []byte) {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &wanted); err != nil {
		refuse(w, http.StatusBadRequest, "MalformedXML", err.Error())
		return
	}
	var whole []byte
	for _, p := range wanted.Part {
		part, ok := u.parts[p.PartNumber]
		if !ok || strings.Trim(p.ETag, `"`) != strings.Trim(etag(part), `"`) {
			refuse(w, http.StatusBadRequest, "InvalidPart", "a part is not as named")
			return
		}
		whole = append(whole, part...)
	}
	delete(s.uploads, id)
	s.objects[u.key] = &object{whole, time.Now()}
	answer(w, &struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: s.Bucket, Key: u.key, ETag: etag(whole)})
}

// page is how many names one answer holds, few enough for a test to see several.
const page = 10

func (s *Server) list(w http.ResponseWriter, query url.Values) {
	type content struct {
		Key, LastModified, ETag string
		Size                    int
	}
	var result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name, Prefix          string
		KeyCount, MaxKeys     int
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	result.Name, result.Prefix, result.MaxKeys = s.Bucket, query.Get("prefix"), page
	after := max(query.Get("continuation-token"), query.Get("start-after"))
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, result.Prefix) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if len(keys) > page {
		keys = keys[:page]
		result.IsTruncated, result.NextContinuationToken = true, keys[page-1]
	}
	for _, key := range keys {
		o := s.objects[key]
		result.Contents = append(result.Contents, content{key, o.time.UTC().Format("2006-01-02T15:04:05.000Z"), etag(o.data), len(o.data)})
	}
	result.KeyCount = len(keys)
	answer(w, &result)
}

func (s *Server) listUploads(w http.ResponseWriter, query url.Values) {
	type entry struct{ Key, UploadId, Initiated string }
	var result struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket  string
		Upload  []entry
	}
	result.Bucket = s.Bucket
	for id, u := range s.uploads {
		if strings.HasPrefix(u.key, query.Get("prefix")) {
			result.Upload = append(result.Upload, entry{u.key, id, u.begun.UTC().Format("2006-01-02T15:04:05.000Z")})
		}
	}
	answer(w, &result)
}

func etag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	text, _ := xml.Marshal(v)
	_, _ = w.Write(append([]byte(xml.Header), text...))
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%s<Error><Code>%s</Code><Message>%s</Message></Error>", xml.Header, code, text)
}

// payload is the body, taken out of signed chunks if it comes in such:
// "size in hex;chunk-signature=...", data, and after the last, empty one trailers.
func payload(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	in := bufio.NewReader(r.Body)
	var whole []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		text, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(text, 16, 32)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			_, err := io.Copy(io.Discard, in)
			return whole, err
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		whole = append(whole, chunk[:size]...)
	}
}
