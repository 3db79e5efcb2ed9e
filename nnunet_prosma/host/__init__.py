"""Everything that knows nnU-Net's files and objects. Other code asks here and reads no key of a file of nnU-Net's.

What tools use, each raising InputError (one sentence with file and field) where something is wrong:

    trained.read_trained(folder) -> TrainedFolder      TRAINER__PLANS__CONFIGURATION: .setup .folds .trainer .labels
    trained.Fold(folder)                               fold_X: .finished .validated .checkpoint() .debug .log
                                                       .validated_checkpoint
                                                       .validated_cases(); it need not be there
    datasets.results_folder(dataset, trainer, plans, configuration) -> Path      where nnU-Net puts a training
    datasets.planned_setup(dataset, plans, configuration) -> Setup               of nnUNet_preprocessed
    datasets.dataset_name, preprocessed_folder, folder_of, optional_folder       data sets and nnU-Net's folders
    plans.Setup(Plans, configuration, Dataset)         what a network is built from: .patch_size .strides .heads
                                                       .input_channels .labels .settings() .network(trainer, ...)
    plans.Plans.read(path) or .of(content, source)     .content for nnU-Net, .said typed, .manager nnU-Net's, .reader()
    dataset_json.Dataset.read(path) or .of(...)        .labels .ignore_label .channel_names .file_ending
    splits.read_splits(path) -> list[Split]            .train .val
    labels                                             labels and regions, read without torch
    summaries.read_summary(path)                       Dice, IoU and counts of each validated case
    training_log.read_training_logs(folder)            curves and times of a training
    checkpoints.read_checkpoint(path)                  weights only: nothing in the file is executed
    trainers.find_trainer(name)                        as -tr finds it
    devices.choose_device(name)                        of -device (arguments.add_device), alike in all commands
    preprocessing.decides_preprocessing(key)           what of plans changes the data
    processes.run(command, log, env)                   nnU-Net's own commands
    workers.pool(count)                                processes that work off tasks
    schema, check                                      the types of the files, and how a file is held to them
    stand_ins                                          what stands where nnU-Net expects an object of its own

content is what nnU-Net's own classes take and nobody changes; said is the same, checked. Unknown keys pass, and so does
what nnU-Net takes: plans of older versions, configurations that inherit, NaN.
"""
