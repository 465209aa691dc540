# Read by interactive shells.
case $- in *i*) ;; *) return ;; esac

shopt -s checkwinsize
PS1='[\u@\h \W]\$ '

# Completion is large: it is read when Tab is first pressed.
_load_completion() {
    complete -r -D
    . /usr/share/bash-completion/bash_completion
    _comp_load "$@" && return 124
}
complete -D -F _load_completion -o bashdefault -o default
