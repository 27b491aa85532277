package main

import (
	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newLabelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "label", Short: "Tell the running agent what was true of a machine, or whether an alarm was right."}
	cmd.AddCommand(newFailureCommand(), newFaultCommand(), newHealthyCommand(), newMaintenanceCommand(),
		newRightCommand(), newWrongCommand(), newLabelListCommand(), newWithdrawCommand())
	return cmd
}

// whenHelp is how times are written.
const whenHelp = "such as 2026-05-01T14:30, 14:30 (of today, local time) or '2h ago'"

// saying is a label as a person says it.
type saying struct {
	agent        agentAddress
	label        labels.Label
	at, from, to string // times, read by parseTime
}

// newSayingCommand is a verb that gives the agent a label of a kind. Its arguments, by
// name, fill the fields of the label.
func newSayingCommand(s *saying, name, short string, args ...argument) *cobra.Command {
	use, names := name, []string{}
	for _, a := range args {
		use += " <" + a.name + ">"
		names = append(names, a.name)
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cli.Args(names...),
		RunE: func(cmd *cobra.Command, given []string) error {
			for i, a := range args {
				*a.field = given[i]
			}
			return s.send(cmd.Context(), cmd.OutOrStdout())
		},
	}
	s.agent.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&s.label.Order, "order", "", "Work order.")
	f.StringVar(&s.label.By, "by", userName(), "Who says so.")
	f.StringVar(&s.label.Note, "note", "", "What else is worth knowing.")
	f.StringVar(&s.label.ID, "id", "", "Name of the label; one given again under its name is replaced.")
	return cmd
}

// argument is a positional argument and where it goes.
type argument struct {
	name  string
	field *string
}

func newFailureCommand() *cobra.Command {
	s := &saying{label: labels.Label{Kind: labels.Failure}}
	cmd := newSayingCommand(s, "failure", "The machine failed.", argument{"machine", &s.label.Machine})
	cmd.Flags().StringVar(&s.at, "at", "", "When, "+whenHelp+"; now without it.")
	cmd.Flags().StringVar(&s.label.Class, "class", "", "Of what, if that is known: one of the classes of the machine's jobs.")
	return cmd
}

func newFaultCommand() *cobra.Command {
	s := &saying{label: labels.Label{Kind: labels.Fault}}
	cmd := newSayingCommand(s, "fault", "The machine has, or had, a confirmed fault.",
		argument{"machine", &s.label.Machine}, argument{"class", &s.label.Class})
	cmd.Long = cmd.Short + " The class says which: one of the classes of the machine's jobs."
	cmd.Flags().StringVar(&s.from, "from", "", "Since when, "+whenHelp+".")
	cmd.Flags().StringVar(&s.to, "to", "", "Until when; without it until the machine is worked on.")
	cmd.Use += " --from TIME"
	cli.Require(cmd, "from")
	return cmd
}

func newHealthyCommand() *cobra.Command {
	s := &saying{label: labels.Label{Kind: labels.Healthy}}
	cmd := newSayingCommand(s, "healthy", "The machine was inspected and in order.", argument{"machine", &s.label.Machine})
	cmd.Flags().StringVar(&s.from, "from", "", "Since when, "+whenHelp+".")
	cmd.Flags().StringVar(&s.to, "to", "", "Until when; now without it.")
	cmd.Use += " --from TIME"
	cli.Require(cmd, "from")
	return cmd
}

func newMaintenanceCommand() *cobra.Command {
	s := &saying{label: labels.Label{Kind: labels.Maintenance}}
	cmd := newSayingCommand(s, "maintenance", "The machine was worked on, without having failed: a new life begins.", argument{"machine", &s.label.Machine})
	cmd.Flags().StringVar(&s.at, "at", "", "When, "+whenHelp+"; now without it.")
	return cmd
}

func newRightCommand() *cobra.Command {
	right := true
	s := &saying{label: labels.Label{Kind: labels.Verdict, Right: &right}}
	cmd := newSayingCommand(s, "right", "The alarm was right.", argument{"episode", &s.label.Episode})
	cmd.Long = cmd.Short + " The episode is the alarm's id."
	cmd.Flags().StringVar(&s.label.Class, "class", "", "Which fault it was, if that is known: one of the classes of the machine's jobs.")
	return cmd
}

func newWrongCommand() *cobra.Command {
	right := false
	s := &saying{label: labels.Label{Kind: labels.Verdict, Right: &right}}
	cmd := newSayingCommand(s, "wrong", "The alarm was wrong: the machine was in order.", argument{"episode", &s.label.Episode})
	cmd.Long = cmd.Short + " The episode is the alarm's id."
	return cmd
}
