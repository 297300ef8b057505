/* shutdown DIRECTORY: the file system there stops as if its power were cut. Nothing more is written, its journal neither.
 * FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h); Rust would need unsafe code for it, which the workspace forbids.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(int count, char **arguments) {
    uint32_t flags = 2;
    int directory = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
    if (directory < 0 || ioctl(directory, _IOR('X', 125, uint32_t), &flags) != 0) {
        perror("shutdown");
        return 1;
    }
    return 0;
}
