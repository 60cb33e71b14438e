# For the scripts beside this one, which source it in their own folder: installs what real clients need.
. ./node.sh
. ./python.sh
