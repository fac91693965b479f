# One of three Praetor servers. Install as /etc/praetor.d/server.hcl; only node_name differs between them.
# Keys and meanings are Consul's.

node_name  = "praetor-1" # unique in the cluster; if left out, the host name
datacenter = "dc1"
data_dir   = "/var/lib/praetor"

# Three servers go on with one of them lost. Each waits until it knows two others, then they found the cluster together.
# A server that already has data never founds a second one, so this line can stay for ever.
server           = true
bootstrap_expect = 3

# Where servers talk to each other (8300 and 8301). The template picks the host's private address;
# write the address itself where there are several.
bind_addr = "{{ GetPrivateIP }}"

# Where HTTP (8500) is served. Whoever reaches it can read and write everything: keep it to this host,
# or to a network where every caller may.
client_addr = "127.0.0.1"

# All three, on all three: a server skips itself, and keeps trying until one answers.
retry_join = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]

# A stopped server is expected back. Leaving for good is `praetor leave`.
leave_on_terminate = false

performance {
  # 1, the default, notices a lost leader within a few seconds; on a shaky network or slow disks, more forgives more.
  raft_multiplier = 1
}

# How the raft log is kept: "wal", segments that are only appended to, or "boltdb", one file. Without it, a server goes on with
# the log that it has, and a new one takes "wal". "praetor operator raft convert" changes that of a stopped server first.
# raft_logstore { backend = "boltdb" }

# Servers compare their states; one that differs from the others goes out of service until it has theirs. The same on all
# three. See docs/reliability.md.
# verify_state = true

# Backups, taken and verified by whichever server leads: the same block on all three. See docs/backup.md.
# backup {
#   target           = "s3://praetor-backups/dc1?endpoint=https://s3.example.org&region=eu-west-1"
#   credentials_file = "/etc/praetor.d/s3-credentials"
#   recipients       = ["age1..."] # from age-keygen; keep the private key elsewhere
#   interval         = "1h"
#   keep             = 48
#   keep_for         = "720h"
# }

telemetry {
  # Above zero, GET /v1/agent/metrics?format=prometheus answers.
  prometheus_retention_time = "60s"
}

log_level = "INFO"
