package rpcserver

import "praetor/structs"

// CheckRegistration reports why the catalog would refuse a registration for
// what it says alone. The registration must name its datacenter; what it leaves
// out is filled in.
func CheckRegistration(c *structs.RegisterRequest) error { return catalogRegister(nil, c) }
