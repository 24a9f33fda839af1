/* Times an export's signature through TensorFlow's C API, for benchmarks/sampling.py.
 *
 *   time_export EXPORT_DIR INPUT OUTPUT LATENTS BATCH LATENT_DIM
 *
 * INPUT and OUTPUT name tensors of the graph, as operation:index; LATENTS is a file of float32
 * numbers, BATCH x LATENT_DIM. Every line of standard input is a number of batches to run; the
 * answer is a line "SECONDS MEAN", MEAN being that of the last batch's numbers. Exit code 0: no more
 * lines; 1: TensorFlow or a file failed; 2: wrong arguments.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorflow/c/c_api.h"

enum { DONE = 0, FAILED = 1, WRONG_REQUEST = 2 };
enum { LONGEST_NAME = 512 };

static int complain(int code, const char *what, const char *subject) {
  fprintf(stderr, "time_export: %s '%s'.\n", what, subject);
  return code;
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int find(TF_Graph *graph, const char *tensor, TF_Output *found) {
  char name[LONGEST_NAME];
  char *colon;
  snprintf(name, sizeof name, "%s", tensor);
  colon = strrchr(name, ':');
  found->index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  found->oper = TF_GraphOperationByName(graph, name);
  return found->oper != NULL;
}

static float *read_numbers(const char *path, size_t count) {
  float *numbers = malloc(count * sizeof *numbers);
  FILE *file = fopen(path, "rb");
  size_t got = numbers && file ? fread(numbers, sizeof *numbers, count, file) : 0;
  if (file) fclose(file);
  if (got == count) return numbers;
  free(numbers);
  return NULL;
}

/* Runs one batch, as a program would that asks for images; returns their mean. */
static double run(TF_Session *session, TF_Output input, TF_Output output, const float *latents,
                  const int64_t shape[2], TF_Status *status) {
  size_t size = (size_t)(shape[0] * shape[1]) * sizeof *latents;
  TF_Tensor *request = TF_AllocateTensor(TF_FLOAT, shape, 2, size), *answer = NULL;
  double sum = 0;
  int64_t count = 1;
  memcpy(TF_TensorData(request), latents, size);
  TF_SessionRun(session, NULL, &input, &request, 1, &output, &answer, 1, NULL, 0, NULL, status);
  TF_DeleteTensor(request);
  if (TF_GetCode(status) != TF_OK) return 0;
  if (TF_TensorType(answer) == TF_FLOAT) {
    const float *images = TF_TensorData(answer);
    count = TF_TensorElementCount(answer);
    for (int64_t i = 0; i < count; ++i) sum += images[i];
  }
  TF_DeleteTensor(answer);
  return sum / (double)count;
}

int main(int argc, char **argv) {
  static const char *const tags[] = {"serve"};
  int64_t shape[2];
  float *latents;
  TF_Output input, output;
  int batches;

  if (argc != 7 || atoi(argv[5]) < 1 || atoi(argv[6]) < 1) {
    fprintf(stderr, "usage: time_export EXPORT_DIR INPUT OUTPUT LATENTS BATCH LATENT_DIM\n");
    return WRONG_REQUEST;
  }
  shape[0] = atoi(argv[5]);
  shape[1] = atoi(argv[6]);
  latents = read_numbers(argv[4], (size_t)(shape[0] * shape[1]));
  if (!latents) return complain(FAILED, "too few numbers in", argv[4]);

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  TF_DeleteSessionOptions(options);
  if (TF_GetCode(status) != TF_OK) return complain(FAILED, "cannot load", TF_Message(status));
  if (!find(graph, argv[2], &input)) return complain(FAILED, "the graph lacks", argv[2]);
  if (!find(graph, argv[3], &output)) return complain(FAILED, "the graph lacks", argv[3]);

  while (scanf("%d", &batches) == 1) {
    double mean = 0, start = seconds_now();
    for (int i = 0; i < batches; ++i) {
      mean = run(session, input, output, latents, shape, status);
      if (TF_GetCode(status) != TF_OK) return complain(FAILED, "cannot run", TF_Message(status));
    }
    printf("%.9f %.9g\n", seconds_now() - start, mean);
    fflush(stdout);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  free(latents);
  return DONE;
}
