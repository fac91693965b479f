package config_test

import (
	"strings"
	"testing"
	"time"
)

// Definitions in both languages, in the forms that Consul's users write.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	r := mustLoad(t, `
		service {
			name = "web"
			port = 80
			enable_tag_override = true
			meta { some = "meta" }
			tagged_addresses { lan { address = "10.0.0.1" port = 81 } }
			check { ttl = "10s" deregister_critical_service_after = "90m" }
		}
		services { name = "a" id = "a1" checks { ttl = "1s" } checks { ttl = "2s" } }
		services { name = "a" id = "a2" checks = [{ ttl = "1s" }] }
		check { name = "node" ttl = "1m" }
		checks { id = "of-web" name = "x" service_id = "web" ttl = "1m" status = "passing" }
		check_update_interval = "0s"
		check_output_max_size = 10
		discard_check_output = true`, "-config-file="+write(t, "b.json", `{
			"service": {"Name": "json", "Check": {"TTL": "5s"}}, "services": [{"name": "j1"}, {"name": "j2"}], "checks": [{"Name": "jc", "TTL": "1s"}]}`))
	var got []string
	for _, s := range r.Services {
		ids := s.ID
		for _, c := range s.AllChecks() {
			ids += " " + c.CheckID
		}
		got = append(got, ids)
	}
	for _, c := range r.NodeChecks {
		got = append(got, "- "+c.CheckID+" "+c.ServiceID)
	}
	const want = "web service:web|a1 service:a1:1 service:a1:2|a2 service:a2|json service:json|j1|j2|- node |- of-web web|- jc "
	if all := strings.Join(got, "|"); all != want {
		t.Errorf("got  %s\nwant %s", all, want)
	}
	web := r.Services[0]
	if web.Port != 80 || !web.EnableTagOverride || web.Meta["some"] != "meta" || web.TaggedAddresses["lan"].Port != 81 ||
		time.Duration(web.Check.DeregisterCriticalServiceAfter) != 90*time.Minute {
		t.Errorf("web: got %+v, check %+v", web, web.Check)
	}
	if c := r.Checks; c.OutputMaxSize != 10 || c.UpdateInterval != 0 || !c.DiscardOutput {
		t.Errorf("got %+v", c)
	}
}

func TestBadDefinitions(t *testing.T) {
	t.Parallel()
	for hcl, want := range map[string]string{
		`service = "web"`:                                            "services in",
		`service { port = 80 }`:                                      "Missing service name",
		`service { name = "a" prot = 80 }`:                           `unknown field "prot"`,
		`service { name = "a" check { ttl = "x" } }`:                 `invalid duration "x"`,
		`service { name = "a" check { http = "x" interval = "1s" }}`: "Praetor runs TTL checks only so far",
		`service { name = "a" connect { sidecar_service {} } }`:      "Praetor has no service mesh",
		`check { name = "a" }`:                                       "TTL must be > 0 for TTL checks",
		`services { name = "a" } services { name = "A" }`:            `two services have the id "A"`,
		`check { name = "a" ttl = "1s" } service { name = "b" check { check_id = "a" ttl = "1s" } }`: `two checks have the id "a"`,
	} {
		_, _, err := load(t, server(t, hcl)...)
		wantError(t, err, want)
	}
}
