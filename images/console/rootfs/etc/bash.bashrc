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

# Says how to get what this small console has not.
command_not_found_handle() {
    echo "bash: $1: command not found" >&2
    case $1 in
    crontab | cron | crond | at)
        echo 'Times are labels of services: rancher: {services: {NAME: {image: …, labels: {cron.schedule: "@daily"}}}}' ;;
    systemctl | journalctl | service | rc-service | initctl)
        echo 'Services are containers: sudo ros service list --all; sudo system-docker logs NAME' ;;
    apt | apt-get | dpkg | apk | yum | dnf | opkg)
        echo 'This console is recreated at each boot: packages go into images, or into the Debian console (ros console --help).' ;;
    *)
        echo "A container has it, with this directory and the machine's network: docker run --rm -it --net host -v \"\$PWD:\$PWD\" -w \"\$PWD\" debian" ;;
    esac >&2
    return 127
}
