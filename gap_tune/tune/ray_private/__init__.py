"""What Ray does not promise: the only folder that touches it.

Its modules rely on these facts of Ray Tune and Ray Train, which the others of gap_tune refer to by
number, and ``tests/contracts`` checks each against the installed version (``test_fact_1``):

1. ``trial.temporary_state.ray_actor`` is the running trial's actor handle, None otherwise;
2. that actor has ``execute(fn)``, which calls ``fn(trainable)`` in the trial's process;
3. an actor runs one caller's tasks in order, so a directive sent before the controller's next
   ``train()`` arrives before it;
4. a function trainable's ``tune.report`` returns only at that next ``train()``;
5. the scheduler's ``on_trial_result`` runs between the two;
6. ``ray.experimental.internal_kv`` keeps bytes that every process of the cluster can read;
7. the controller that a scheduler is handed wraps the real one as ``_tune_controller``, whose
   ``_callbacks`` is a ``CallbackList`` with a list ``_callbacks``, and calls their
   ``on_trial_start`` when the trial's actor is known and before it restores or trains;
8. ``trial.latest_checkpoint_result.metrics`` is the result that came with the last checkpoint,
   after a restart of the trial too; a ``TorchTrainer``'s checkpoints are not the trial's, but
   its callback names them in results as ``checkpoint_path``;
9. ``trial.storage`` names the experiment folder, and everything in the driver's staging folder
   is uploaded there with the experiment's state;
10. ``ResourceChangingScheduler`` keeps the scheduler that it wraps as ``_base_scheduler``;
11. when a trial starts from a checkpoint, Ray's loggers replace the driver's ``result.json`` and
    ``progress.csv`` of it, which lie in ``trial.local_path``, by the storage's copy;
12. callbacks get a result after the scheduler and in their order, and what the first one changes in
    it is what loggers write and ``trial.last_result`` keeps;
13. that is ``trial.run_metadata.last_result``, which holds no more than ``trial_id`` before;
14. what a trial starts from is its checkpoint manager's ``_latest_checkpoint_result``, looked at
    after ``on_trial_start``; where it is None the trial starts anew;
15. every trial that waits to run is among the ``get_live_trials()`` of the controller that a
    scheduler is handed, and ended ones are not;
16. what ``save`` of a class trainable returns may hold no checkpoint; the controller then goes on;
17. a worker's ``ray.train.report`` stores its checkpoint after all ranks have agreed on a name and
    before it sends its result, and counts reports in ``report_call_index``;
18. a searcher's trial is named after what ``_resolve_nested_dict`` finds in its configuration, by
    ``items()`` of every dict in it, when ``SearchGenerator.create_trial_if_possible`` makes it, and
    shown with what ``flatten_dict`` finds so in the suggestion;
19. the ``param_space`` that a searcher is told is the one that suggestions are merged into;
20. ``CallbackList.get_state`` returns what callbacks save by their places in the list, and a study
    that is restored gives it back by those before its scheduler is handed any trial;
21. each start of a trial's function has a thread of its own (``training_thread`` of
    ``get_session``), and each start of a worker's in Ray Train's second generation a context of its
    own (``get_train_context``); their latest checkpoint is the one that was last reported there,
    whoever did;
22. ``OptunaSearch`` keeps the space that it was given, or has made of ``param_space``, as
    ``_space``, by path or as the function that defines it, and the points that it was given as
    ``_points_to_evaluate``;
23. a ``Searcher`` shows the metric and mode that it keeps as ``_metric`` and ``_mode``;
24. searchers keep what they wrap as ``searcher``, by which name Ray finds the states to save of
    whatever is wrapped;
25. a class trainable keeps its latest result as ``_last_result``, and what stores its checkpoints
    as ``_storage``, which is None outside of Tune;
26. synchronous ``PopulationBasedTraining`` has a trial wait until all that are live have trained
    (``_trial_state``, ``last_train_time``) up to ``_next_perturbation_sync``, which is then
    ``_perturbation_interval`` later; trials that have failed are live;
27. a ``tune.report`` whose checkpoint cannot be stored raises before anything is sent, and may be
    called again without one;
28. ``ray.train.get_context`` names a rank and an experiment in workers of Ray Train only, and
    raises or names none of one of them elsewhere;
29. the last ``experiment_state-*.json`` by name in an experiment's folder has pairs as
    ``trial_data``, whose first is a trial in JSON with ``trial_id``, ``status`` and
    ``relative_logdir``, and ``tuner.pkl`` has the names "metric" and "mode" of the study's
    ``TuneConfig`` right before their values;
30. a searcher's state is saved as ``search_gen_state-*.json``, a grid's as
    ``basic-variant-state-*.json``, both after the trials;
31. an experiment is uploaded by the ``syncer`` of what the controller's ``_checkpoint_manager`` has
    as ``_storage``, from the driver's folder to the experiment's, right after the controller's
    thread has written the experiment's state there; what to do, ``_sync_up_command`` says;
32. a controller's ``_actor_manager`` is all that it asks about processes, by the methods of
    ``VirtualActors``; an actor is told by ``set_on_start``, ``set_on_stop`` and ``set_on_error``
    what to call, and ``schedule_actor_task`` returns what ``trial.temporary_state.saving_to``
    wraps, whose ``resolve`` is all that schedulers ask of it;
33. the trials that a controller goes through are in its sets of trials, its ``_trials`` and
    ``_pending_trials_list``, and in what ``_resources_to_pending_trials`` has by default;
34. trials are named by ``Trial.generate_id``, those of a ``BasicVariantGenerator`` begin with its
    ``_uuid_prefix``, and this one's controller has as many trials pending as
    ``TUNE_MAX_PENDING_TRIALS_PG`` says;
35. a controller saves a study by ``save_to_dir`` when ``checkpoint`` finds it due, or its
    ``_checkpoint_manager`` has ``_should_force_sync_up``, and ``resume`` restores it from what
    ``_find_newest_experiment_checkpoint`` finds; where the driver keeps files, an experiment's
    ``_storage_context_cls`` says;
36. the controller has a trial train by ``train.remote`` (``train_buffered`` where results are
    buffered) of the very handle that is ``trial.temporary_state.ray_actor``, an ``ActorHandle``
    whose methods an attribute of its own goes before.
"""
