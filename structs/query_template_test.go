package structs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/structs"
)

func template(name, pattern string, service structs.ServiceQuery) *structs.PreparedQuery {
	return &structs.PreparedQuery{
		Name: name, Service: service,
		Template: structs.QueryTemplate{Type: structs.QueryTemplateNamePrefix, Regexp: pattern, RemoveEmptyTags: true},
	}
}

func TestFillTemplate(t *testing.T) {
	t.Parallel()
	const geo = `^geo-db-(.*?)-([^\-]+?)$`
	for _, test := range []struct {
		name          string // of the template
		pattern, text string
		asked, want   string
	}{
		{"geo-db", "", "plain", "geo-db-x", "plain"},
		{"geo-db-", "", "${name.full}|${name.prefix}|${name.suffix}", "geo-db-x", "geo-db-x|geo-db-|x"},
		{"geo-db-", "", "${name.suffix}", "GEO-DB-X", "X"},
		{"geo-db-", "", "${name.suffix}", "geo-db-", ""},
		{"", "", "${name.prefix}${name.suffix}", "any", "any"},
		{"geo-db", geo, "mysql-${match(1)}/${ match( 2 ) }", "geo-db-customer-master", "mysql-customer/master"},
		{"geo-db", geo, "${match(0)}${match(3)}${match(-1)}", "geo-db-a-b", "geo-db-a-b"},
		{"geo-db", geo, "x${match(1)}", "geo-db-customer", "x"}, // does not match
		{"geo-db", "", "x${match(1)}", "geo-db-customer", "x"},
		{"", "", "in ${agent.segment}", "any", "in alpha"},
		{"", "", "$${name.full} costs $5 {}", "any", "${name.full} costs $5 {}"},
		{"", "", "$$${name.full}", "any", "$${name.full}"},
	} {
		filled, err := template(test.name, test.pattern, structs.ServiceQuery{Service: test.text}).Fill(test.asked, "alpha")
		if err != nil || filled.Service.Service != test.want {
			t.Errorf("%q of %q asked for %q: got %v, %v, want %q", test.text, test.name, test.asked, filled, err, test.want)
		}
	}
}

// Every string of the service is filled in, and the stored query stays as it is.
func TestFillReachesEverything(t *testing.T) {
	t.Parallel()
	const v = "${name.suffix}"
	service := func(v string) structs.ServiceQuery {
		return structs.ServiceQuery{
			Service: v, SamenessGroup: v, Near: v, Peer: v, Tags: []string{v, "!" + v}, IgnoreCheckIDs: []string{v},
			NodeMeta: map[string]string{"${name.full}": v}, ServiceMeta: map[string]string{"k": v},
			Failover: structs.QueryFailover{Datacenters: []string{v}, Targets: []structs.QueryTarget{{Peer: v, Datacenter: v}}},
		}
	}
	q := template("p-", "", service(v))
	filled, err := q.Fill("p-x", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(service("x"), filled.Service); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(service(v), q.Service); diff != "" {
		t.Errorf("the template itself has changed:\n%s", diff)
	}
	filled, err = template("p-", "", structs.ServiceQuery{Tags: []string{v, "a", ""}}).Fill("p-", "")
	if err != nil || !cmp.Equal(filled.Service.Tags, []string{"a"}) {
		t.Errorf("got tags %q, %v, want no empty ones", filled.Service.Tags, err)
	}
	kept := template("p-", "", structs.ServiceQuery{Tags: []string{v, "a"}})
	kept.Template.RemoveEmptyTags = false
	if filled, err = kept.Fill("p-", ""); err != nil || !cmp.Equal(filled.Service.Tags, []string{"", "a"}) {
		t.Errorf("got tags %q, %v, want the empty one kept", filled.Service.Tags, err)
	}
}

func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, pattern, text, want string }{
		{"regexp", "", "x", "Bad Template.Type 'regexp'"},
		{"name_prefix_match", "(", "x", "Bad template: bad Regexp: error parsing regexp"},
		{"name_prefix_match", strings.Repeat("a", 513), "x", "Bad template: Regexp is longer than 512 bytes"},
		{"name_prefix_match", "", "${name.full", "Bad template: '${name.full' has no } behind ${"},
		{"name_prefix_match", "", "${name.nope}", "Bad template: there is no variable ${name.nope}"},
		{"name_prefix_match", "", "${match(x)}", "Bad template: there is no variable ${match(x)}"},
		{"name_prefix_match", "", "${match(1}", "Bad template: there is no variable"},
	} {
		q := template("", test.pattern, structs.ServiceQuery{Tags: []string{test.text}})
		q.Template.Type = test.kind
		if err := q.CheckTemplate(); !structs.IsCode(err, structs.Invalid) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.text, err, test.want)
		}
	}
}
