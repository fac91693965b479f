package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/posener/complete"
)

const defaultAddr = "127.0.0.1:8500"

// connection is how a verb reaches a server: flags, else the environment, where
// PRAETOR_ names win over CONSUL_ names, else defaults.
type connection struct {
	addr, token, tokenFile                         string
	caFile, caPath, clientCert, clientKey, tlsName string
	datacenter                                     string
	stale                                          bool
}

func (c *connection) define(fs *flag.FlagSet) {
	fs.StringVar(&c.addr, "http-addr", "", "The server's HTTP `address`: host:port, http://, https:// or unix:///path (PRAETOR_HTTP_ADDR; default "+defaultAddr+").")
	fs.StringVar(&c.token, "token", "", "Send this `secret` with each request (PRAETOR_HTTP_TOKEN).")
	fs.StringVar(&c.tokenFile, "token-file", "", "Send the secret in this `file` (PRAETOR_HTTP_TOKEN_FILE).")
	fs.StringVar(&c.caFile, "ca-file", "", "Trust the authorities in this PEM `file` (PRAETOR_CACERT).")
	fs.StringVar(&c.caPath, "ca-path", "", "Trust the authorities in this `directory` (PRAETOR_CAPATH).")
	fs.StringVar(&c.clientCert, "client-cert", "", "Show the certificate in this PEM `file` (PRAETOR_CLIENT_CERT).")
	fs.StringVar(&c.clientKey, "client-key", "", "Its key is in this PEM `file` (PRAETOR_CLIENT_KEY).")
	fs.StringVar(&c.tlsName, "tls-server-name", "", "Expect this `name` in the server's certificate (PRAETOR_TLS_SERVER_NAME).")
	fs.StringVar(&c.datacenter, "datacenter", "", "Ask the datacenter of this `name` (default: the server's own).")
	fs.BoolVar(&c.stale, "stale", false, "Let any server answer a read, not only the leader.")
}

// setting returns a flag's value, else the environment's, and where it is from.
func setting(flagged, flagName, name string) (value, source string) {
	if flagged != "" {
		return flagged, "-" + flagName
	}
	for _, prefix := range []string{"PRAETOR_", "CONSUL_"} {
		if value := os.Getenv(prefix + name); value != "" {
			return value, prefix + name
		}
	}
	return "", ""
}

func (c *connection) address() (addr, source string) {
	if addr, source = setting(c.addr, "http-addr", "HTTP_ADDR"); addr == "" {
		return defaultAddr, "the default"
	}
	return addr, "from " + source
}

// client returns the official client, set up. Everything is decided here: what
// the client would take from CONSUL_ names by itself is the same or overruled.
func (c *connection) client() (*api.Client, error) {
	env := func(flagged, name string) string {
		value, _ := setting(flagged, "", name)
		return value
	}
	addr, _ := c.address()
	conf := &api.Config{Address: addr, Scheme: "http", Datacenter: c.datacenter, TLSConfig: api.TLSConfig{
		CAFile: env(c.caFile, "CACERT"), CAPath: env(c.caPath, "CAPATH"), CertFile: env(c.clientCert, "CLIENT_CERT"),
		KeyFile: env(c.clientKey, "CLIENT_KEY"), Address: env(c.tlsName, "TLS_SERVER_NAME"),
	}}
	for name, set := range map[string]func(bool){
		"HTTP_SSL":        func(on bool) { conf.Scheme = map[bool]string{true: "https", false: "http"}[on] },
		"HTTP_SSL_VERIFY": func(on bool) { conf.TLSConfig.InsecureSkipVerify = !on },
	} {
		value, source := setting("", "", name)
		if value == "" {
			continue
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return nil, failf("Error! %s is %q, which is neither true nor false", source, value)
		}
		set(on)
	}
	if auth := env("", "HTTP_AUTH"); auth != "" {
		user, password, _ := strings.Cut(auth, ":")
		conf.HttpAuth = &api.HttpBasicAuth{Username: user, Password: password}
	}
	var err error
	if conf.Token, err = c.secret(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = importsInFlight
	if socket, isUnix := strings.CutPrefix(addr, "unix://"); isUnix {
		conf.Address = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	if conf.HttpClient, err = api.NewHttpClient(transport, conf.TLSConfig); err != nil {
		return nil, failf("Error! TLS cannot be set up: %v", err)
	}
	conf.HttpClient.Transport = withQuery{conf.HttpClient.Transport}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, failf("Error! %v", err)
	}
	return client, nil
}

// withQuery adds the parameters in a request's context to its URL, and gives an
// answer without an end away, if the context asks for it: Raw can do neither.
type withQuery struct{ http.RoundTripper }

type (
	queryKey  struct{}
	streamKey struct{}
)

func (t withQuery) RoundTrip(r *http.Request) (*http.Response, error) {
	if more, ok := r.Context().Value(queryKey{}).(url.Values); ok {
		r = r.Clone(r.Context())
		query := r.URL.Query()
		maps.Copy(query, more)
		r.URL.RawQuery = query.Encode()
	}
	reply, err := t.RoundTripper.RoundTrip(r)
	if body, ok := r.Context().Value(streamKey{}).(*io.ReadCloser); ok && err == nil && reply.StatusCode == http.StatusOK {
		*body, reply.Body = reply.Body, io.NopCloser(strings.NewReader("null"))
	}
	return reply, err
}

// stream reads an endpoint whose answer ends when the caller, or ctx, does.
func (c *connection) stream(ctx context.Context, client *api.Client, path string, query url.Values) (io.ReadCloser, error) {
	var body io.ReadCloser
	ctx = context.WithValue(context.WithValue(ctx, queryKey{}, query), streamKey{}, &body)
	if _, err := client.Raw().Query(path, new(any), c.read().WithContext(ctx)); err != nil {
		return nil, err
	}
	return body, nil
}

// put calls an endpoint that Consul's client does not know.
func (c *connection) put(client *api.Client, path string, query url.Values) error {
	return c.write(client, path, query, nil, nil)
}

// write does the same with a body, or for an endpoint that takes and answers
// more than Consul's client knows; either may be nil.
func (c *connection) write(client *api.Client, path string, query url.Values, in, out any) error {
	q := (&api.WriteOptions{}).WithContext(context.WithValue(context.Background(), queryKey{}, query))
	_, err := client.Raw().Write(path, in, out, q)
	return err
}

// status is the status code and text that a server said no with; 0 for other
// errors.
func status(err error) (code int, text string) {
	var refusal api.StatusError
	if errors.As(err, &refusal) {
		return refusal.Code, refusal.Body
	}
	return 0, ""
}

// secret is the token: a flag wins over the environment, a file over a value.
func (c *connection) secret() (string, error) {
	file, token := c.tokenFile, c.token
	if file == "" && token == "" {
		file, _ = setting("", "", "HTTP_TOKEN_FILE")
		token, _ = setting("", "", "HTTP_TOKEN")
	}
	if file == "" {
		return token, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", failf("Error! The token file cannot be read: %v", err)
	}
	return cmp.Or(strings.TrimSpace(string(data)), token), nil
}

// read are the options of a read.
func (c *connection) read() *api.QueryOptions { return &api.QueryOptions{AllowStale: c.stale} }

// unreachable tells a server that is not there from one that says no.
func unreachable(err error) bool {
	var call *url.Error
	var op *net.OpError
	return errors.As(err, &call) && errors.As(err, &op) && op.Op == "dial"
}

// explain says where no server was found, and what to do.
func (c *connection) explain(err error) string {
	addr, source := c.address()
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Sprintf(`Error! No server answers at %s (%s): %v. "praetor agent -dev" starts one; -http-addr or PRAETOR_HTTP_ADDR names another address.`,
		addr, source, err)
}

// predictor completes an operand by what a server answers within a moment.
func predictor(ask func(client *api.Client, begun string, q *api.QueryOptions) []string) complete.Predictor {
	return complete.PredictFunc(func(a complete.Args) []string {
		client, err := new(connection).client()
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		return ask(client, a.Last, (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
	})
}

// keyPredictor completes keys, a folder at a time, by asking the server.
var keyPredictor = predictor(func(client *api.Client, begun string, q *api.QueryOptions) []string {
	keys, _, _ := client.KV().Keys(begun, "/", q)
	return keys
})

// sessionPredictor completes ids of sessions.
var sessionPredictor = predictor(func(client *api.Client, _ string, q *api.QueryOptions) (ids []string) {
	sessions, _, _ := client.Session().List(q)
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
})

// nodePredictor completes names of nodes.
var nodePredictor = predictor(func(client *api.Client, _ string, q *api.QueryOptions) (names []string) {
	nodes, _, _ := client.Catalog().Nodes(q)
	for _, n := range nodes {
		names = append(names, n.Node)
	}
	return names
})
