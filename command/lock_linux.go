package command

import "syscall"

// endWithUs makes the kernel kill the program when the thread that started it
// ends, and so when this process is killed: nobody would stop it any more. What
// the program itself started lives on.
func endWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
