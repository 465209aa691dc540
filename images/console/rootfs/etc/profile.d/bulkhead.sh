# Tells who logs in what is wrong with the machine's configuration.
if [ -s /run/bulkhead/config-problems ] && [ -t 1 ]; then
    echo "About the configuration of this machine (sudo ros config validate --machine):"
    sed 's/^/  /' /run/bulkhead/config-problems
    echo
fi
# What of it has no effect on this machine's network cards.
if [ -s /run/bulkhead/network/problems ] && [ -t 1 ]; then
    echo "About the network of this machine (docs/networking.md):"
    sed 's/^/  /' /run/bulkhead/network/problems
    echo
fi
# And what of the settings of docker has been left out.
if [ -s /run/user-docker/problems ] && [ -t 1 ]; then
    echo "About the settings of docker (docs/user-docker.md):"
    sed 's/^/  /' /run/user-docker/problems
    echo
fi
# And that the last upgrade failed.
if [ -s /run/bulkhead/upgrade-failed ] && [ -t 1 ]; then
    echo "An upgrade failed, and the previous system runs (sudo ros os history):"
    sed 's/^/  /' /run/bulkhead/upgrade-failed
    echo
fi
