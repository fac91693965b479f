// Package suite pins the versions of the official Go client, its tests and what those need.
package suite

import (
	_ "github.com/hashicorp/consul/api"
	_ "github.com/hashicorp/consul/sdk/testutil"
)
