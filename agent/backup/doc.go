// Package backup owns what a cluster keeps outside of itself: where backups lie, how they are named, sealed, verified and
// forgotten, and when they are taken.
//
//	snap/<raft index, 20 digits>-<unix ms>.snap[.age]   a snapshot archive, as package archive writes it
//	snap/<the same>.json                                what is known of it: a Record; never sealed
//	log/<first index, 20 digits>-<last, 20 digits>.seg[.age]
//
// A name is never written twice. Two servers that both believe they lead write two names: whoever is wrong adds a backup
// of an earlier state, and never damages one.
//
// A backup counts once its record is there, and the record is written last, after the archive has been read back from the
// target and restored into a scratch store. An archive without a record is a remainder, and is swept up.
package backup
