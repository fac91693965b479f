package fsm

import (
	"fmt"

	"praetor/state"
	"praetor/structs"
)

// commands binds each type byte to what it does to the state.
var commands = register(
	on((*state.Writer).ApplyRegister),
	on((*state.Writer).ApplyDeregister),
	on((*state.Writer).ApplyKV),
	on((*state.Writer).ApplySession),
	on((*state.Writer).ApplyTombstone),
	on((*state.Writer).ApplyCoordinates),
	on((*state.Writer).ApplyPreparedQuery),
	on((*state.Writer).ApplyAutopilot),
	on((*state.Writer).ApplyTxn),
	on((*state.Writer).ApplyMetadata),
	on((*state.Writer).ApplyVerify),
)

// command is what one type byte means.
type command struct {
	kind  structs.MessageType
	empty func() structs.Command
	apply func(w *state.Writer, payload []byte) any // the result, or an error
}

// on makes a command of a state method; its type byte is that of the request.
func on[C, R any, P interface {
	*C
	structs.Command
}](apply func(*state.Writer, P) (R, error)) command {
	return command{
		kind:  P(new(C)).Type() &^ structs.IgnoreUnknownTypeFlag,
		empty: func() structs.Command { return P(new(C)) },
		apply: func(w *state.Writer, payload []byte) any {
			request := P(new(C))
			if err := structs.DecodeValue(payload, request); err != nil {
				panic(fmt.Sprintf("fsm: %v", err))
			}
			result, err := apply(w, request)
			if err != nil {
				return err
			}
			return result
		},
	}
}

func register(list ...command) map[structs.MessageType]command {
	byKind := make(map[structs.MessageType]command, len(list))
	for _, c := range list {
		if _, twice := byKind[c.kind]; twice {
			panic(fmt.Sprintf("fsm: two commands of type %v", c.kind))
		}
		byKind[c.kind] = c
	}
	return byKind
}

// Commands returns an empty command of every type that the log may hold.
func Commands() []structs.Command {
	var list []structs.Command
	for kind := range structs.IgnoreUnknownTypeFlag {
		if c, ok := commands[kind]; ok {
			list = append(list, c.empty())
		}
	}
	return list
}

// DecodeCommand reads the bytes of a log entry. The error of a type that this
// version does not know has code Unsupported.
func DecodeCommand(data []byte) (structs.Command, error) {
	if len(data) == 0 {
		return nil, structs.Errorf(structs.Corrupt, "an entry is empty")
	}
	kind := structs.MessageType(data[0]) &^ structs.IgnoreUnknownTypeFlag
	c, ok := commands[kind]
	if !ok {
		return nil, structs.Errorf(structs.Unsupported, "this version does not know commands of type %v", kind)
	}
	request := c.empty()
	return request, structs.DecodeValue(data[1:], request)
}
