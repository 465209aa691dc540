package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// wordVariable holds the word at the cursor, as far as it is typed.
const wordVariable = "ROS_COMPLETE_WORD"

// bashCompletion asks ros itself what may come next. A word that ends in a dot
// goes on.
const bashCompletion = `# bash completion for ros; load it with: . <(ros completion)
_ros() {
	local IFS=$'\n'
	local -x ROS_COMPLETE_WORD=${COMP_WORDS[COMP_CWORD]}
	COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
	[[ ${COMPREPLY[0]} != *. ]] || compopt -o nospace
}
complete -F _ros ros
`

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script for bash",
		Description: "Example:\n   . <(ros completion)",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprint(c.App.Writer, bashCompletion)
			return err
		},
	}
}

// complete prints the words that may follow. The library's own does so only
// for the arguments of the process.
func complete(commands []*cli.Command, flags []cli.Flag) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		for _, command := range commands {
			fmt.Fprintln(c.App.Writer, command.Name)
		}
		for _, flag := range flags {
			fmt.Fprintln(c.App.Writer, "--"+flag.Names()[0])
		}
	}
}
