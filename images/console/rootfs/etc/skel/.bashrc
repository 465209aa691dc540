# Read by bash for interactive shells and for commands over ssh.
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoreboth
alias ls='ls --color=auto'
alias ll='ls -l'
