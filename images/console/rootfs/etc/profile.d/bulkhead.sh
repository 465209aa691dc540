# Tells who logs in about mistakes in the machine's configuration.
if [ -s /run/bulkhead/config-problems ] && [ -t 1 ]; then
    echo "The configuration of this machine has mistakes:"
    sed 's/^/  /' /run/bulkhead/config-problems
    echo
fi
