package agent

import "syscall"

// hostDisk says how full the file system under a directory is.
func hostDisk(dir string) (map[string]any, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return nil, err
	}
	block := uint64(fs.Bsize)
	total, free := fs.Blocks*block, fs.Bavail*block
	used := total - fs.Bfree*block
	percent := 0.0
	if used+free > 0 {
		percent = 100 * float64(used) / float64(used+free)
	}
	return map[string]any{
		"path": dir, "total": total, "free": free, "used": used, "usedPercent": percent,
		"inodesTotal": fs.Files, "inodesFree": fs.Ffree,
	}, nil
}
