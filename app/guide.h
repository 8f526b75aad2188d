/* guide.h: where the built-in guide is, the small model that answers questions about this program when no
 * other was named. It lies beside the program: in the build tree and in the install prefix at the same
 * relative place. Any thread. */
#ifndef FERRUM_GUIDE_H
#define FERRUM_GUIDE_H

/* Its absolute path without links (mem_free), or NULL when there is no such file. */
char *guide_path(void);

/* Its general.name. */
extern const char guide_name[];
/* What people are told when they talk with it. */
extern const char guide_note[];

#endif
