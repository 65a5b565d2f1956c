// A folder that does not tell case apart, as those of Windows and macOS: every name lies in small letters in another one.
// The kernel knows two spellings of a name as two files, and so gives each its own locks: the hardest of such folders.
#define FUSE_USE_VERSION 31
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char root[2048];

static const char *at(const char *path, char *out) {
  int length = snprintf(out, 4096, "%s%s", root, path);
  for (int i = (int)strlen(root); i < length; i++) out[i] = (char)tolower((unsigned char)out[i]);
  return out;
}
#define PATH char buffer[4096]; const char *real = at(path, buffer)
#define ANSWER(call) return (call) == -1 ? -errno : 0

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *config) {
  (void)conn;
  config->use_ino = 1;
  return NULL;
}
static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
  PATH;
  (void)real;
  if (fi != NULL) ANSWER(fstat((int)fi->fh, st));
  ANSWER(lstat(real, st));
}
static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off, struct fuse_file_info *fi,
                      enum fuse_readdir_flags flags) {
  (void)off, (void)fi, (void)flags;
  PATH;
  DIR *dir = opendir(real);
  if (dir == NULL) return -errno;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) fill(buf, entry->d_name, NULL, 0, 0);
  closedir(dir);
  return 0;
}
static int op_open(const char *path, struct fuse_file_info *fi) {
  PATH;
  int fd = open(real, fi->flags);
  if (fd == -1) return -errno;
  fi->fh = (uint64_t)fd;
  return 0;
}
static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi) {
  PATH;
  int fd = open(real, fi->flags | O_CREAT, mode);
  if (fd == -1) return -errno;
  fi->fh = (uint64_t)fd;
  return 0;
}
static int op_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi) {
  (void)path;
  ssize_t done = pread((int)fi->fh, buf, size, off);
  return done == -1 ? -errno : (int)done;
}
static int op_write(const char *path, const char *buf, size_t size, off_t off, struct fuse_file_info *fi) {
  (void)path;
  ssize_t done = pwrite((int)fi->fh, buf, size, off);
  return done == -1 ? -errno : (int)done;
}
static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
  PATH;
  if (fi != NULL) ANSWER(ftruncate((int)fi->fh, size));
  ANSWER(truncate(real, size));
}
static int op_release(const char *path, struct fuse_file_info *fi) { (void)path; close((int)fi->fh); return 0; }
static int op_fsync(const char *path, int data, struct fuse_file_info *fi) {
  (void)path;
  ANSWER(data ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}
static int op_unlink(const char *path) { PATH; ANSWER(unlink(real)); }
static int op_mkdir(const char *path, mode_t mode) { PATH; ANSWER(mkdir(real, mode)); }
static int op_rmdir(const char *path) { PATH; ANSWER(rmdir(real)); }
static int op_rename(const char *path, const char *to, unsigned flags) {
  PATH;
  char other[4096];
  if (flags != 0) return -EINVAL;
  ANSWER(rename(real, at(to, other)));
}
static int op_link(const char *path, const char *to) { PATH; char other[4096]; ANSWER(link(real, at(to, other))); }
static int op_chmod(const char *path, mode_t mode, struct fuse_file_info *fi) { (void)fi; PATH; ANSWER(chmod(real, mode)); }
static int op_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi) {
  (void)fi;
  PATH;
  ANSWER(utimensat(0, real, times, AT_SYMLINK_NOFOLLOW));
}
static int op_statfs(const char *path, struct statvfs *st) { PATH; ANSWER(statvfs(real, st)); }
static const struct fuse_operations operations = {
    .init = op_init, .getattr = op_getattr, .readdir = op_readdir, .open = op_open, .create = op_create, .read = op_read,
    .write = op_write, .truncate = op_truncate, .release = op_release, .fsync = op_fsync, .unlink = op_unlink,
    .mkdir = op_mkdir, .rmdir = op_rmdir, .rename = op_rename, .link = op_link, .chmod = op_chmod,
    .utimens = op_utimens, .statfs = op_statfs,
};

// folding UNDERNEATH MOUNTPOINT
int main(int argc, char *argv[]) {
  if (argc != 3 || snprintf(root, sizeof root, "%s", argv[1]) >= (int)sizeof root) return 2;
  char *args[] = {argv[0], argv[2], "-f", "-odefault_permissions,allow_other", NULL};
  return fuse_main(4, args, &operations, NULL);
}
